#!/usr/bin/python3
"""Makes ngx_http_wt_json_tables.c from a FileDescriptorSet: see "generate".

    json_tables.py < descriptor set > tables
"""

import sys

from google.protobuf.descriptor_pb2 import (FieldDescriptorProto,
                                            FileDescriptorSet)

TYPES = {
    FieldDescriptorProto.TYPE_BOOL: "BOOL",
    FieldDescriptorProto.TYPE_INT32: "INT32",
    FieldDescriptorProto.TYPE_UINT32: "UINT32",
    FieldDescriptorProto.TYPE_UINT64: "UINT64",
    FieldDescriptorProto.TYPE_DOUBLE: "DOUBLE",
    FieldDescriptorProto.TYPE_STRING: "STRING",
    FieldDescriptorProto.TYPE_BYTES: "BYTES",
    FieldDescriptorProto.TYPE_ENUM: "ENUM",
    FieldDescriptorProto.TYPE_MESSAGE: "MESSAGE",
}

# bits of a mask, in the parser
MAX_FIELDS = 32

HEAD = """
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * Generated from webtransport.proto, see "generate".  Fields are in the order
 * of their numbers, messages behind those that they contain.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_wt_json.h>


#define field(json, name, number, type, label, oneof, of)                     \\
    { ngx_string(json), ngx_string(name), number,                             \\
      NGX_HTTP_WT_JSON_##type, NGX_HTTP_WT_JSON_##label, oneof, of }
"""


class Unsupported(Exception):
    pass


class Tables:
    """The messages of one file: its text is the result."""

    def __init__(self, file):
        self.text = HEAD
        self.messages = {}
        self.enums = {}
        self.done = set()
        self.open = []

        prefix = f".{file.package}."
        self.collect(prefix, file)
        self.roots = {name for service in file.service
                      for method in service.method
                      for name in (method.input_type, method.output_type)}

        for name in self.messages:
            self.message(name)

    def collect(self, prefix, scope):
        for enum in scope.enum_type:
            self.enums[prefix + enum.name] = enum
        nested = getattr(scope, "nested_type", None)
        for message in scope.message_type if nested is None else nested:
            self.messages[prefix + message.name] = message
            self.collect(f"{prefix}{message.name}.", message)

    def symbol(self, name):
        """The C name of .nginx.webtransport.v1.Drain.By, without prefix."""
        known = self.messages.keys() | self.enums.keys()
        parts = name.split(".")
        first = next(n for n in range(1, len(parts))
                     if ".".join(parts[:n + 1]) in known)
        return "_".join(parts[first:])

    def enum(self, name):
        if name in self.done:
            return
        self.done.add(name)

        enum, symbol = self.enums[name], self.symbol(name)

        # the first of several names of a number is the one that is printed
        values = sorted(enum.value, key=lambda value: value.number)

        self.text += ("\n\nstatic const ngx_http_wt_json_name_t\n"
                      f"ngx_http_wt_json_{symbol}_names[] = {{\n")
        for value in values:
            self.text += (f'    {{ ngx_string("{value.name}"),'
                          f" {value.number} }},\n")
        self.text += ("};\n\nstatic const ngx_http_wt_json_enum_t\n"
                      f"ngx_http_wt_json_{symbol} = {{\n"
                      f"    {len(values)}, ngx_http_wt_json_{symbol}_names\n"
                      "};\n")

    def message(self, name):
        if name in self.done:
            return
        if name in self.open:
            raise Unsupported(f"{name} contains itself: depth has no limit")

        message, symbol = self.messages[name], self.symbol(name)
        fields = sorted(message.field, key=lambda field: field.number)

        if len(fields) > MAX_FIELDS:
            raise Unsupported(f"{name} has more than {MAX_FIELDS} fields")

        self.open.append(name)
        for field in fields:
            if field.type_name in self.enums:
                self.enum(field.type_name)
            elif field.type_name:
                self.message(field.type_name)
        self.open.pop()
        self.done.add(name)

        entry = message.options.map_entry
        rows = "".join(self.field(name, field, entry) for field in fields)
        table = "NULL"

        if rows:
            table = f"ngx_http_wt_json_{symbol}_fields"
            self.text += ("\n\nstatic const ngx_http_wt_json_field_t\n"
                          f"{table}[] = {{\n{rows}}};\n")
        else:
            self.text += "\n"

        static = "" if name in self.roots else "static "
        self.text += (f"\n{static}const ngx_http_wt_json_msg_t\n"
                      f"ngx_http_wt_json_{symbol} = {{\n"
                      f'    "{symbol.replace("_", ".")}", {len(fields)},'
                      f"\n    {table}\n}};\n")

    def field(self, name, field, entry):
        where = f"{name}.{field.name}"

        if field.type not in TYPES:
            raise Unsupported(f"{where}: this type has no conversion yet")

        label, oneof = "SINGULAR", 0

        if self.is_map(field):
            self.check_map(where, self.messages[field.type_name])
            label = "MAP"
        elif field.label == field.LABEL_REPEATED:
            label = "REPEATED"
        elif field.HasField("oneof_index"):
            label = "PRESENCE"
            # the compiler describes "optional" as a oneof of its own
            if not field.proto3_optional:
                oneof = field.oneof_index + 1
        elif entry or field.type == field.TYPE_MESSAGE:
            label = "PRESENCE"

        first = f'    field("{field.json_name}", "{field.name}",'
        second = f" {field.number}, {TYPES[field.type]}, {label}, {oneof},"
        of = " NULL),\n"

        if field.type_name:
            of = f" &ngx_http_wt_json_{self.symbol(field.type_name)}),\n"

        if len(first + second + of) <= 81:
            return first + second + of
        return f"{first}\n         {second}{of}"

    def is_map(self, field):
        message = self.messages.get(field.type_name)
        return message is not None and message.options.map_entry

    @staticmethod
    def check_map(where, entry):
        key, value = entry.field
        if key.type != key.TYPE_STRING or value.type == value.TYPE_MESSAGE:
            raise Unsupported(f"{where}: only maps of strings to scalars")


def main():
    files = FileDescriptorSet.FromString(sys.stdin.buffer.read()).file
    try:
        if len(files) != 1:
            raise Unsupported("expected one file")
        sys.stdout.write(Tables(files[0]).text)
    except Unsupported as e:
        sys.exit(f"{sys.argv[0]}: error: {e}")


if __name__ == "__main__":
    main()
