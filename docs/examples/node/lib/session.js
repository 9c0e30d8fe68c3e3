'use strict';

const { ProtocolError, SessionClosed, StreamError } = require('./errors');
const log = require('./log');
const { OVERHEAD, Outbox } = require('./outbox');
const { Signal } = require('./signal');
const { STREAM_WINDOW, Stream } = require('./stream');

// Codes with which this worker closes sessions, as in WebSocket.
const GOING_AWAY = 1001;
const INTERNAL_ERROR = 1011;
const OVERLOADED = 1013;

// Streams of a session that are served at a time; more end the session.
const MAX_STREAMS = 1024;

/**
 * A session.  An application is a subclass, and overrides what it needs of
 * onConnect() to onClose().
 */
class Session {
  #outbox;
  #accepted = false;
  #closing = false; // the last command was sent
  #streams = new Map();
  #tasks = new Set();
  #serving = 0;
  #bidi;
  #uni;

  constructor(call, id, connect) {
    const maxCommand = connect.maxCommand || 65536;

    this.id = id;
    this.connect = connect; // what the client asked for
    this.metadata = call.metadata; // the fields of webtransport_set_header
    this.maxData = maxCommand - OVERHEAD;

    this.#outbox = new Outbox(call, maxCommand);
    this.#bidi = { next: 5, credit: connect.streamsBidi, more: new Signal() };
    this.#uni = { next: 7, credit: connect.streamsUni, more: new Signal() };

    // If the call breaks, there is nothing left to wait for.
    call.once('close', () => this.#finish());
  }

  // ---- callbacks ------------------------------------------------------------

  /** A client asks for a session: accept() or reject() it. */
  onConnect() {
    this.accept();
  }

  /**
   * The client opened a stream.  What is still open when the promise is
   * fulfilled is ended; and reset and stopped, if it is rejected with a
   * StreamError.
   */
  async onStream(stream) {}

  /** A datagram arrived. */
  onDatagram(data) {}

  /** The session is over, streams and tasks have ended already. */
  onClose(closed) {}

  // ---- what a session can do ------------------------------------------------

  accept() {
    this.#answer({
      accept: { streamWindow: STREAM_WINDOW, notify: ['STREAM_CREDIT'] },
    });
    this.#accepted = true;
  }

  /**
   * Refuses the session with an HTTP status.  A page learns no more than that
   * it failed; to tell it why, accept() and close().
   */
  reject(status = 403) {
    this.#answer({ reject: { status } });
    this.#closing = true;
  }

  /** Opens a bidirectional stream, when the client allows one more. */
  openBidi() {
    return this.#open(this.#bidi, 'BIDI');
  }

  /** Opens a unidirectional stream, when the client allows one more. */
  openUni() {
    return this.#open(this.#uni, 'UNI');
  }

  /**
   * Sends a datagram, or drops it: datagrams are for what is soon outdated, and
   * must not pile up.
   */
  sendDatagram(data) {
    if (!this.isFull) {
      this.send({ datagram: { data } });
    }
  }

  /**
   * Ends the session.  What was written is delivered first, if the client takes
   * it within flushMs milliseconds.
   */
  close(code = 0, reason = '', flushMs = 1000) {
    this.send({ close: { code, reason, flushMs } });
    this.#closing = true;
    this.#wakeAll();
  }

  /** Runs something beside the callbacks; it has to end with the session. */
  spawn(task) {
    const running = this.#guard(task);
    this.#tasks.add(running);
    running.then(() => this.#tasks.delete(running));

    return running;
  }

  /** Whether it is over, or about to be. */
  get ended() {
    return this.#closing;
  }

  // ---- for streams ----------------------------------------------------------

  send(command) {
    if (!this.#accepted) {
      throw new Error('accept() the session first');
    }

    // After Close nginx would ignore it anyway.
    if (!this.#closing) {
      this.#outbox.put(command);
    }
  }

  get isFull() {
    return this.#outbox.isFull();
  }

  async waitForRoom() {
    while (this.isFull && !this.#closing) {
      await this.#outbox.room.wait();
    }
  }

  forget(stream) {
    this.#streams.delete(stream.id);
  }

  // ---- for the service ------------------------------------------------------

  /**
   * Serves the session to its end, and tells whether it was in order.  events
   * came along with Connect.
   */
  async run(inbox, events) {
    log.info(
      `session ${this.id}: ${this.connect.path} ` +
        `from ${this.connect.remoteAddr}`,
    );

    let closed = null;
    let trouble = '';

    try {
      await this.#guard(() => this.onConnect());
      closed = await this.#read(inbox, events);
    } catch (error) {
      trouble = error.message;
    }

    this.#finish();
    await Promise.all(this.#tasks);

    closed ??= { by: 'UNKNOWN', code: 0, reason: trouble };
    log.info(
      `session ${this.id}: closed by ${closed.by}, ` +
        `code ${closed.code} "${closed.reason}"`,
    );
    await this.#guard(() => this.onClose(closed));

    return trouble === '';
  }

  /** The process ends. */
  goAway() {
    this.#dismiss(503, GOING_AWAY, 'worker restarts', 1000);
  }

  // ---- events ---------------------------------------------------------------

  /** Handles events until Closed, and returns it. */
  async #read(inbox, events) {
    for (;;) {
      for (const event of events) {
        if (event.kind === 'closed') {
          return event.closed;
        }

        this.#handle(event);
      }

      // A session that takes nothing is not read either: this is what keeps its
      // memory bounded.
      await this.waitForRoom();

      const batch = await inbox.next();

      if (batch === null) {
        throw new ProtocolError('nginx ended the call without Closed');
      }

      ({ events } = batch);
    }
  }

  #handle(event) {
    if (event.kind === 'connect') {
      throw new ProtocolError('second Connect');
    }

    if (this.#closing) {
      return; // nobody's business any more
    }

    switch (event.kind) {
      case 'data':
        this.#handleData(event.data);
        break;
      case 'reset':
        this.#stream(event.reset)?.receiveReset(event.reset.code ?? 0);
        break;
      case 'stop':
        this.#stream(event.stop)?.receiveStop(event.stop.code ?? 0);
        break;
      case 'datagram':
        this.#guard(() => this.onDatagram(event.datagram.data));
        break;
      case 'credit':
        this.#handleCredit(event.credit);
        break;
      case 'ping':
        if (this.#accepted) {
          this.send({ pong: event.ping });
        }
        break;
      // Others may come, from a newer nginx: they are to be ignored.
    }
  }

  #handleData(data) {
    let stream = this.#stream(data);

    if (data.open !== 'NONE') {
      if (this.#serving === MAX_STREAMS) {
        this.close(OVERLOADED, 'too many streams', 0);
        return;
      }

      stream = this.#addStream(Number(data.streamId));
      this.spawn(() => this.#serve(stream));
    }

    stream?.receive(data);
  }

  #handleCredit(credit) {
    this.#bidi.credit += credit.bidi;
    this.#bidi.more.notify();
    this.#uni.credit += credit.uni;
    this.#uni.more.notify();

    // The stream may have ended in the meantime.
    this.#stream(credit)?.receiveCredit(Number(credit.bytes));
  }

  // ---- helpers --------------------------------------------------------------

  async #serve(stream) {
    this.#serving++;

    try {
      await this.onStream(stream);
      stream.end();
      stream.stop();
    } catch (error) {
      if (error instanceof StreamError) {
        stream.reset(error.code);
        stream.stop(error.code);
      }

      throw error;
    } finally {
      this.#serving--;
    }
  }

  /** Sees to it that an error of the application ends its session only. */
  async #guard(task) {
    try {
      await task();
    } catch (error) {
      if (!(error instanceof SessionClosed || error instanceof StreamError)) {
        log.error(`session ${this.id}:`, error);
        this.#dismiss(500, INTERNAL_ERROR, 'internal error', 0);
      }
    }
  }

  /** Ends the session politely, whatever state it is in. */
  #dismiss(status, code, reason, flushMs) {
    if (this.#accepted) {
      this.close(code, reason, flushMs);
    } else if (!this.#closing) {
      this.reject(status);
    }
  }

  #answer(command) {
    if (this.#accepted || this.#closing) {
      throw new Error('the session has its answer already');
    }

    this.#outbox.put(command);
  }

  async #open(kind, open) {
    while (kind.credit === 0 && !this.#closing) {
      await kind.more.wait();
    }

    if (this.#closing) {
      throw new SessionClosed();
    }

    const stream = this.#addStream(kind.next);
    kind.credit--;
    kind.next += 4;
    stream.announce(open);

    return stream;
  }

  #stream({ streamId }) {
    return this.#streams.get(Number(streamId));
  }

  #addStream(id) {
    const stream = new Stream(this, id);
    this.#streams.set(id, stream);

    return stream;
  }

  #finish() {
    this.#closing = true;
    this.#wakeAll();
  }

  /** Whatever waits finds that the session is over. */
  #wakeAll() {
    this.#outbox.room.notify();
    this.#bidi.more.notify();
    this.#uni.more.notify();

    for (const stream of this.#streams.values()) {
      stream.wake();
    }
  }
}

module.exports = { Session };
