'use strict';

const { ProtocolError, SessionClosed, StreamError } = require('./errors');
const { Signal } = require('./signal');

// Bytes of a stream that nginx sends before it needs credit from us.
const STREAM_WINDOW = 65536;

/**
 * A stream.  Read it with "for await", or read().  Awaiting is all the flow
 * control there is: a client has to wait while its stream is not read, and
 * write() waits for a client that is slow.
 */
class Stream {
  #session;
  #receiving;
  #chunks = [];
  #unread = 0;
  #owed = 0; // has been read, but nginx has no credit for it yet
  #reset = null;
  #readable = new Signal();
  #sending;
  #credit;
  #stopped = null;
  #writable = new Signal();

  constructor(session, id) {
    // The low bits of an id tell what it is: 1 is set if we have opened the
    // stream, 2 if it is unidirectional.
    const ours = (id & 1) !== 0;

    this.id = id;
    this.bidirectional = (id & 2) === 0;
    this.#session = session;
    this.#receiving = this.bidirectional || !ours;
    this.#sending = this.bidirectional || ours;
    this.#credit = session.connect.streamWindow;
  }

  /** The bytes that came next, null after the last ones. */
  async read() {
    while (this.#chunks.length === 0) {
      if (this.#session.ended) {
        throw new SessionClosed();
      }

      if (this.#reset !== null) {
        throw this.#reset;
      }

      if (!this.#receiving) {
        return null;
      }

      await this.#readable.wait();
    }

    const data = this.#chunks.shift();
    this.#unread -= data.length;
    this.#owed += data.length;

    // Not for every few bytes: half a window is early enough to keep the client
    // sending.
    if (this.#receiving && this.#owed >= STREAM_WINDOW / 2) {
      this.#session.send({
        credit: { streamId: this.id, bytes: this.#owed },
      });
      this.#owed = 0;
    }

    return data;
  }

  async *[Symbol.asyncIterator]() {
    for (let data; (data = await this.read()) !== null; ) {
      yield data;
    }
  }

  /** Sends bytes, as fast as the client takes them. */
  async write(data) {
    for (let at = 0; ; ) {
      this.#checkWritable();

      if (at === data.length) {
        return;
      }

      if (this.#credit === 0) {
        await this.#writable.wait();
      } else if (this.#session.isFull) {
        await this.#session.waitForRoom();
      } else {
        const size = Math.min(
          data.length - at,
          this.#credit,
          this.#session.maxData,
        );
        this.#credit -= size;
        this.#send(data.subarray(at, at + size));
        at += size;
      }
    }
  }

  /** Ends our sending side; doing so twice is no error. */
  end() {
    if (this.#sending) {
      this.#send(undefined, { fin: true });
      this.#endSending();
    } else if (this.#stopped !== null) {
      throw this.#stopped;
    }
  }

  /** Gives up our sending side; what has not left is lost. */
  reset(code = 0) {
    if (this.#sending) {
      this.#session.send({ reset: { streamId: this.id, code } });
      this.#endSending();
    }
  }

  /** Asks the client not to send any more; a reader sees the end. */
  stop(code = 0) {
    if (this.#receiving) {
      this.#session.send({ stop: { streamId: this.id, code } });
      this.#chunks = [];
      this.#endReceiving();
    }
  }

  // ---- for the session ------------------------------------------------------

  announce(open) {
    this.#send(undefined, { open });
  }

  receive({ data, fin }) {
    // It may have crossed with our stop().
    if (!this.#receiving) {
      return;
    }

    if (data.length > 0) {
      this.#chunks.push(data);
      this.#unread += data.length;
    }

    if (this.#unread > STREAM_WINDOW) {
      throw new ProtocolError(`stream ${this.id} exceeds its window`);
    }

    if (fin) {
      this.#endReceiving();
    }

    this.#readable.notify();
  }

  receiveReset(code) {
    if (this.#receiving) {
      this.#reset = new StreamError('reset', code);
      this.#endReceiving();
    }
  }

  receiveStop(code) {
    if (this.#sending) {
      this.#stopped = new StreamError('stopped', code);
      this.#endSending();
    }
  }

  receiveCredit(bytes) {
    this.#credit += bytes;
    this.#writable.notify();
  }

  wake() {
    this.#readable.notify();
    this.#writable.notify();
  }

  // ---- helpers --------------------------------------------------------------

  #send(data, more) {
    this.#session.send({ data: { streamId: this.id, data, ...more } });
  }

  #checkWritable() {
    if (this.#session.ended) {
      throw new SessionClosed();
    }

    if (this.#stopped !== null) {
      throw this.#stopped;
    }

    if (!this.#sending) {
      throw new Error(`stream ${this.id} is not open for writing`);
    }
  }

  #endReceiving() {
    this.#receiving = false;
    this.#readable.notify();
    this.#forget();
  }

  #endSending() {
    this.#sending = false;
    this.#writable.notify();
    this.#forget();
  }

  #forget() {
    if (!this.#receiving && !this.#sending) {
      this.#session.forget(this);
    }
  }
}

module.exports = { STREAM_WINDOW, Stream };
