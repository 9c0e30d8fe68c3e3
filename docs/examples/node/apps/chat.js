'use strict';

const { StreamError } = require('../lib/errors');
const { Session } = require('../lib/session');
const { Signal } = require('../lib/signal');

// Codes with which a session or stream is ended.
const ONE_STREAM_ONLY = 1;
const LINE_TOO_LONG = 2;
const TOO_SLOW = 3;

const MAX_LINE = 1000;

// A member who is that many lines behind is thrown out.
const MAX_BEHIND = 100;

// Letters and digits of any script.
const NAME = /^[\p{L}\p{N}_-]{1,32}$/u;

class LineTooLong extends Error {}

const room = new Set();
let guests = 0;

/**
 * A chat room.  A client enters with a bidirectional stream and leaves by
 * ending it; on it go lines to the room, and lines from the room.  Its name is
 * the query's "name".  Every process is a room of its own.
 */
class Chat extends Session {
  #name;
  #lines;
  #more;
  #left;

  async onStream(stream) {
    if (!stream.bidirectional || room.has(this)) {
      stream.stop(ONE_STREAM_ONLY);
      stream.reset(ONE_STREAM_ONLY);
      return;
    }

    this.#name = chooseName(this.connect.query);
    this.#lines = [];
    this.#more = new Signal();
    this.#left = false;
    room.add(this);
    const delivery = this.spawn(() => this.#deliver(stream));

    try {
      say(`* ${this.#name} joined`);

      for await (const line of split(stream)) {
        say(`${this.#name}: ${line}`);
      }
    } catch (error) {
      if (!(error instanceof LineTooLong)) {
        throw error;
      }

      this.close(LINE_TOO_LONG, 'line too long');
    } finally {
      this.#leave();
      // It hears all that was said before it left.
      await delivery;
    }
  }

  /** Takes a line, or tells that it is too far behind. */
  hear(line) {
    this.#lines.push(line);
    this.#more.notify();

    return this.#lines.length <= MAX_BEHIND;
  }

  throwOut() {
    this.close(TOO_SLOW, 'too slow', 0);
    this.#leave();
  }

  #leave() {
    if (room.delete(this)) {
      this.#left = true;
      this.#more.notify();
      say(`* ${this.#name} left`);
    }
  }

  async #deliver(stream) {
    try {
      while (this.#lines.length > 0 || !this.#left) {
        if (this.#lines.length > 0) {
          await stream.write(Buffer.from(`${this.#lines.shift()}\n`));
        } else {
          await this.#more.wait();
        }
      }
    } catch (error) {
      // Whoever does not listen may not talk: this ends onStream().
      if (error instanceof StreamError) {
        stream.stop(error.code);
      }

      throw error;
    }
  }
}

/** Tells everybody, and waits for nobody: everyone has a queue. */
function say(line) {
  const slow = [...room].filter((member) => !member.hear(line));

  for (const member of slow) {
    member.throwOut();
  }
}

async function* split(stream) {
  let partial = Buffer.alloc(0);

  for await (const data of stream) {
    partial = Buffer.concat([partial, data]);

    for (let end; (end = partial.indexOf('\n')) !== -1; ) {
      const line = partial.subarray(0, end);
      checkLength(line);
      yield line.toString().replace(/\r+$/, '');
      partial = partial.subarray(end + 1);
    }

    checkLength(partial);
  }
}

function checkLength(line) {
  if (line.length > MAX_LINE) {
    throw new LineTooLong();
  }
}

function chooseName(query) {
  const name = new URLSearchParams(query.toString()).get('name') ?? '';

  return NAME.test(name) ? name : `guest${++guests}`;
}

module.exports = { Chat };
