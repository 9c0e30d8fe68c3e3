'use strict';

/** The peer sent what nginx never sends; its session ends. */
class ProtocolError extends Error {}

/** The session has ended, or is about to. */
class SessionClosed extends Error {
  constructor() {
    super('session closed');
  }
}

/**
 * The client gave up its sending side, when reading, or wants no more of the
 * stream, when writing.
 */
class StreamError extends Error {
  constructor(what, code) {
    super(`stream ${what} by the client, code ${code}`);
    this.code = code;
  }
}

module.exports = { ProtocolError, SessionClosed, StreamError };
