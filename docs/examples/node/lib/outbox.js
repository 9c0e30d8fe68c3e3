'use strict';

const { Signal } = require('./signal');

// Above this many bytes that nginx has not taken, datagrams are dropped,
// streams wait, and nothing more is read from the session.
const MAX_OUTPUT = 262144;

// What a command is at most, besides its data: ids, tags, lengths.
const OVERHEAD = 64;

/** Sends commands, in batches that nginx accepts. */
class Outbox {
  /** Woken when it is not full any more. */
  room = new Signal();

  #call;
  #maxBatch;
  #commands = [];
  #size = 0; // of commands, and of the batch that is being sent
  #sending = false;

  constructor(call, maxBatch) {
    this.#call = call;
    this.#maxBatch = maxBatch;
  }

  put(command) {
    this.#commands.push(command);
    this.#size += sizeOf(command);

    // What one turn of the event loop sends travels together.
    if (!this.#sending) {
      this.#sending = true;
      setImmediate(() => this.#send());
    }
  }

  isFull() {
    return this.#size > MAX_OUTPUT;
  }

  #send() {
    if (this.#commands.length === 0 || this.#call.writableEnded) {
      this.#sending = false;
      return;
    }

    const { count, size } = this.#nextBatch();
    const commands = this.#commands.splice(0, count);

    // It calls back when HTTP/2 has taken the batch: while nginx does not read,
    // this is what we wait for.
    this.#call.write({ commands }, () => {
      this.#size -= size;
      this.room.notify();
      this.#send();
    });
  }

  #nextBatch() {
    let count = 0;
    let size = 0;

    for (const command of this.#commands) {
      const more = sizeOf(command);

      if (count > 0 && size + more > this.#maxBatch) {
        break;
      }

      count++;
      size += more;
    }

    return { count, size };
  }
}

function sizeOf(command) {
  const { data } = command.data ?? command.datagram ?? {};

  return (data?.length ?? 0) + OVERHEAD;
}

module.exports = { Outbox, OVERHEAD };
