
/*
 * Copyright (C) The WebTransport for nginx authors
 *
 * Mutations of valid input, the same in every run.  ASan and UBSan look for
 * what must not happen; the tests look for what must hold for any input.
 */


#include "test_capsule.h"
#include "test_msg.h"
#include <ngx_http_wt_varint.h>


#define ROUNDS  150000


static const char  *capsules[] = {
    "00{ 6843{ 0000002a 627965 } }",
    "00{ 800078ae{} }",
    "00{ 00{ 616263 } 00{} }",
    "00{ 990b4d3d{ 7bbd } 990b4d44{ 00 } }",
    "00{ 17{ 000000000000 } 800078ae{} }",
    "21{ 4141 }",
    "00{} 00{ 00 } 00{ 05 } 00{ 6162 } 00{ 636465 }",
    "0003 00 4400",
    "c000000000000000 c000000000000003 80000000 01 61"
};


static const char  *commands[] = {
    "1a{ 0807 12{ 0a{63686174} 12{ 0a{782d61} 12{31} } 18808004 2003 3802"
    "             42{0103} } }",
    "1a{ 1a{ 08ad03 12{ 0a{78} 12{ff} } 1a{62757379} } }",
    "1a{ 22{ 0805 12{68656c6c6f} 1801 2002 2803 30e807 3809 } }",
    "1a{ 2a{ 0804 1000 } } 1a{ 32{ 0806 } }",
    "1a{ 3a{ 0a{64} 1014 } 08ac02 }",
    "1a{ 42{ 0808 10808004 } } 1a{ 4a{ 0809 1008 } } 1a{ 52{ 10f403 } }",
    "1a{ 5a{ 08effdb6f50d 12{6772c3bcc39f65} 1864 } } 1a{ 62{} }",
    "1a{ 8a01{ 0801 } } 1a{ 9201{ 08ffffffffffffffffff01 } }",
    "0a{73} 1009 a00601 a1060000000000000000 a206{6161} a50600000000"
};


/* what nanopb is spared, and what stands between */

static const char  *hot[] = {
    "1a{ 22{ 0805 12{68656c6c6f} 1801 2002 } }",
    "1a{ 0807 22{ 08c0808080808080807f 12{} } }",
    "1a{ 08ac02 3a{ 0a{6461} 10e807 } }",
    "1a{ 3a{ 0a{61} 108080808010 } }",
    "1a{ 3a{} } 1a{ 22{} }",
    "1a{ 3a{ 0a{646174} } 3a{ 1001 } }",
    "1a8500 3a830a0161",
    "1a{ 22{ 0804 12{61} 12{62} 1800 1801 0808 } 0801 }",
    "1a{ 22{ 0804 30e807 } } 1a{ 22{ 0804 2080808080f0ffffffff01 } }",
    "1a{ 42{ 0808 10808004 } }",
    "0a{73} 1009",
    "1a{ 5a{ 08efac } }"
};


static uint64_t         seed;
static u_char           input[4096];
static size_t           input_len;
static test_feed_t      whole, pieces;
static test_commands_t  full, part;


/* xorshift64 */

static size_t
random_below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return (size_t) (seed >> 11) % n;
}


static void
append(const char *hex)
{
    test_bytes_t  b;

    b = test_bytes(hex);

    if (input_len + b.len <= sizeof(input)) {
        memcpy(input + input_len, b.data, b.len);
        input_len += b.len;
    }

    free(b.data);
}


static void
mutate(void)
{
    size_t         at, n;

    static u_char  values[] = { 0x00, 0x01, 0x7f, 0x80, 0xbf, 0xc0, 0xff };

    if (input_len == 0) {
        return;
    }

    at = random_below(input_len);

    switch (random_below(6)) {

    case 0: /* flip a bit */
        input[at] ^= (u_char) (1 << random_below(8));
        break;

    case 1: /* a telling value */
        input[at] = values[random_below(sizeof(values))];
        break;

    case 2: /* any value */
        input[at] = (u_char) random_below(256);
        break;

    case 3: /* remove some bytes */
        n = 1 + random_below(ngx_min(input_len - at, 4));
        memmove(input + at, input + at + n, input_len - at - n);
        input_len -= n;
        break;

    case 4: /* repeat some bytes */
        n = 1 + random_below(ngx_min(input_len - at, 16));

        if (input_len + n <= sizeof(input)) {
            memmove(input + at + n, input + at, input_len - at);
            input_len += n;
        }

        break;

    default: /* truncate */
        input_len = at;
    }
}


static void
make_input(const char **list, size_t nelts)
{
    size_t  n;

    input_len = 0;

    for (n = 1 + random_below(5); n; n--) {
        append(list[random_below(nelts)]);
    }

    for (n = random_below(5); n; n--) {
        mutate();
    }
}


static void
report(ngx_uint_t round)
{
    printf("# round %u: %s\n", (unsigned) round, test_hex(input, input_len));
}


static void
capsules_do_not_depend_on_the_split(void)
{
    size_t      pos, n;
    ngx_uint_t  i;

    seed = 0x5bd1e995;

    for (i = 0; i < ROUNDS && !test_failed; i++) {

        make_input(capsules, sizeof(capsules) / sizeof(capsules[0]));

        test_feed_init(&whole);
        test_feed_piece(&whole, input, input_len);
        test_feed_finish(&whole);

        test_feed_init(&pieces);

        for (pos = 0; pos < input_len; pos += n) {
            n = 1 + random_below(ngx_min(input_len - pos, 8));
            test_feed_piece(&pieces, input + pos, n);
        }

        test_feed_finish(&pieces);

        check_str(pieces.log, whole.log);

        if (test_failed) {
            report(i);
        }
    }
}


static void
commands_do_not_depend_on_what_follows(void)
{
    size_t      n;
    ngx_int_t   rc;
    ngx_uint_t  i;

    seed = 0x1b873593;

    for (i = 0; i < ROUNDS && !test_failed; i++) {

        make_input(commands, sizeof(commands) / sizeof(commands[0]));

        rc = test_parse(&full, input, input_len, 0);
        check(rc == NGX_OK || rc == NGX_ERROR);

        n = random_below(input_len + 1);

        rc = test_parse(&part, input, n, 0);
        check(rc == NGX_OK || rc == NGX_ERROR);

        check(part.commands <= full.commands);

        if (rc == NGX_ERROR) {
            part.len = strstr(part.log, "malformed: ") - part.log;
        }

        check(memcmp(part.log, full.log, part.len) == 0);

        if (test_failed) {
            report(i);
        }
    }
}


/* a field in front that is unknown leaves the rest of the batch to nanopb */

static void
hot_commands_are_what_nanopb_makes_of_them(void)
{
    ngx_int_t      rc;
    ngx_uint_t     i;

    static u_char  behind[3 + sizeof(input)] = { 0xf8, 0x01, 0x01 };

    seed = 0x38b34ae5;

    for (i = 0; i < ROUNDS && !test_failed; i++) {

        make_input(hot, sizeof(hot) / sizeof(hot[0]));

        rc = test_parse(&full, input, input_len, 0);

        memcpy(behind + 3, input, input_len);

        check(test_parse(&part, behind, 3 + input_len, 0) == rc);
        check_str(full.log, part.log);

        if (test_failed) {
            report(i);
        }
    }
}


static void
noise_is_harmless(void)
{
    size_t      n;
    ngx_int_t   rc;
    ngx_uint_t  i;

    seed = 0xcc9e2d51;

    for (i = 0; i < ROUNDS && !test_failed; i++) {

        input_len = random_below(64);

        for (n = 0; n < input_len; n++) {
            input[n] = (u_char) random_below(256);
        }

        test_feed_init(&whole);
        test_feed_piece(&whole, input, input_len);
        test_feed_finish(&whole);

        rc = test_parse(&full, input, input_len, 0);
        check(rc == NGX_OK || rc == NGX_ERROR);

        if (test_failed) {
            report(i);
        }
    }
}


static test_t  tests[] = {
    test(capsules_do_not_depend_on_the_split),
    test(commands_do_not_depend_on_what_follows),
    test(hot_commands_are_what_nanopb_makes_of_them),
    test(noise_is_harmless)
};


test_main(tests)
