'use strict';

// Worker.Deliver: an echo that remembers nothing.
//
// Any process may get any batch, and the same one again after a failure: so
// what it needs to know comes with the batch, and the answer depends on nothing
// else.
//
// Chat and cursors would have to reach other sessions, which takes the control
// API; they are refused.

const { status } = require('@grpc/grpc-js');

/** The session is none that we have accepted. */
class NoApplication extends Error {
  constructor() {
    super('no application in Context.meta');
  }
}

/** The commands for a batch of events; routes is a map by path. */
function answer(batch, routes) {
  const commands = [];

  for (const event of batch.events) {
    const command = answerEvent(event, batch.context?.meta.path, routes);

    if (command !== null) {
      commands.push(command);
    }
  }

  return { sessionId: batch.sessionId, seq: batch.seq, commands };
}

/** path is what Accept has stored, and comes back with every later batch. */
function answerEvent(event, path, routes) {
  switch (event.kind) {
    case 'connect':
      return answerConnect(event.connect.path.toString(), routes);
    case 'closed':
      return null; // the place to clean up; also follows a Reject
    default:
      if (path !== '/echo') {
        throw new NoApplication();
      }

      return echo(event);
  }
}

function answerConnect(path, routes) {
  if (path === '/echo') {
    return { accept: { session: { meta: { path } } } };
  }

  return { reject: { status: routes.has(path) ? 501 : 404 } };
}

function echo(event) {
  switch (event.kind) {
    case 'data':
      return { data: echoData(event.data) };
    case 'reset':
      return { reset: echoAbort(event.reset) };
    case 'stop':
      return { stop: echoAbort(event.stop) };
    case 'datagram':
      return { datagram: { data: event.datagram.data } };
    case 'ping':
      return { pong: event.ping };
    case 'result':
      return echoResult(event.result);
    default:
      return null;
  }
}

function echoData({ streamId, data, fin, open }) {
  const back = otherSide(streamId);

  return { streamId: back, data, fin, open: back === streamId ? 'NONE' : open };
}

function echoAbort({ streamId, code }) {
  return { streamId: otherSide(streamId), code: code ?? 0 };
}

/** If a stream could not be opened, the client need not send for it. */
function echoResult({ status: result, streamId }) {
  if (result !== status.RESOURCE_EXHAUSTED) {
    return null;
  }

  return { stop: { streamId: otherSide(streamId), code: 0 } };
}

/**
 * The stream on which the echo travels.  The one of the client's unidirectional
 * stream 6 is our stream 7, and so on: both rise, and nothing has to be
 * remembered.
 */
function otherSide(streamId) {
  const id = BigInt(streamId);

  return (id & 2n) !== 0n ? String(id ^ 1n) : streamId;
}

module.exports = { answer, NoApplication };
