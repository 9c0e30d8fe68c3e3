#!/usr/bin/env node
'use strict';

// A worker for nginx's webtransport_pass grpc://..., with three applications:
//
//   node worker.js [--quiet] unix:/path | host:port

const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');

const { bind } = require('./lib/address');
const log = require('./lib/log');
const { Worker } = require('./lib/service');
const { Echo } = require('./apps/echo');
const { Chat } = require('./apps/chat');
const { Cursors } = require('./apps/cursors');

const ROUTES = { '/echo': Echo, '/chat': Chat, '/cursors': Cursors };

// How long sessions may take to end when the process is told to.
const SHUTDOWN_MS = 2000;

function argumentsOf(process) {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2),
    options: { quiet: { type: 'boolean', default: false } },
    allowPositionals: true,
  });

  if (positionals.length !== 1) {
    throw new Error('one address is needed');
  }

  return { address: positionals[0], quiet: values.quiet };
}

/** No more calls are taken, which GOAWAY tells nginx; others may end. */
function shutDown(server, worker) {
  worker.goAway();
  server.tryShutdown(() => process.exit());
  setTimeout(() => process.exit(), SHUTDOWN_MS);
}

async function main() {
  let address;

  try {
    const given = argumentsOf(process);
    address = given.address;
    log.setQuiet(given.quiet);
  } catch (error) {
    console.error(`${error.message}
usage: worker.js [--quiet] unix:/path | host:port`);
    process.exit(2);
  }

  const server = new grpc.Server();
  const worker = new Worker(ROUTES);
  worker.addTo(server);

  try {
    await bind(server, address);
  } catch (error) {
    console.error(`cannot listen on ${address}: ${error.message}`);
    process.exit(1);
  }

  console.log(`listening on ${address}`);

  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, () => shutDown(server, worker));
  }
}

main();
