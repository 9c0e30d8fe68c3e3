'use strict';

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const { answer, NoApplication } = require('./deliver');
const { Inbox } = require('./inbox');
const log = require('./log');
const { Session } = require('./session');

// The contract is read when the process starts: there is no generated code.
const SCHEMA = path.join(
  __dirname,
  '../../../../src/proto/webtransport.proto',
);

const { Worker: contract } = grpc.loadPackageDefinition(
  protoLoader.loadSync(SCHEMA, {
    longs: String, // ids of pings have 64 bits, numbers only 53
    enums: String,
    defaults: true,
    oneofs: true, // event.kind names the member that is set
  }),
).nginx.webtransport.v1;

/** For paths that have no application. */
class NotFound extends Session {
  onConnect() {
    this.reject(404);
  }
}

/** For what still comes when the process ends. */
class Leaving extends Session {
  onConnect() {
    this.reject(503);
  }
}

/** The service that nginx calls. */
class Worker {
  #routes;
  #sessions = new Set();
  #leaving = false;

  /** routes: a path's class, whose objects are its sessions. */
  constructor(routes) {
    this.#routes = new Map(Object.entries(routes));
  }

  addTo(server) {
    server.addService(contract.service, {
      Session: (call) => this.#session(call),
      Deliver: (call, callback) => this.#deliver(call, callback),
    });
  }

  /** Ends all sessions, and those that still come. */
  goAway() {
    this.#leaving = true;

    for (const session of this.#sessions) {
      session.goAway();
    }
  }

  /**
   * Serves one session: a call is a session, and ends with it.
   *
   * It ends with OK after Closed.  An error that ends it before Accept is an
   * HTTP status for the client, after Accept a close code.
   */
  async #session(call) {
    if (await this.#serve(call)) {
      call.end();
    } else {
      // Nobody hears it if the call was cancelled.
      call.emit('error', {
        code: grpc.status.ABORTED,
        details: 'the session has failed',
      });
    }
  }

  /** Whether the session came to its end. */
  async #serve(call) {
    const inbox = new Inbox(call);
    const batch = await inbox.next();
    const [first, ...events] = batch?.events ?? [];

    if (first?.kind !== 'connect') {
      log.info('no session: first event is not Connect');
      return false;
    }

    const kind = this.#choose(first.connect.path.toString());
    const session = new kind(call, batch.sessionId, first.connect);
    this.#sessions.add(session);

    try {
      return await session.run(inbox, events);
    } finally {
      this.#sessions.delete(session);
    }
  }

  #choose(requested) {
    return this.#leaving ? Leaving : this.#routes.get(requested) ?? NotFound;
  }

  /** Handles one batch of a session. */
  #deliver(call, callback) {
    try {
      callback(null, answer(call.request, this.#routes));
    } catch (error) {
      if (error instanceof NoApplication) {
        callback({
          code: grpc.status.FAILED_PRECONDITION,
          details: error.message,
        });
      } else {
        log.error('error in Deliver:', error);
        callback({ code: grpc.status.INTERNAL, details: 'internal error' });
      }
    }
  }
}

module.exports = { Worker };
