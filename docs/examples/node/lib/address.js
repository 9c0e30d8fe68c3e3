'use strict';

const fs = require('node:fs/promises');
const net = require('node:net');
const { promisify } = require('node:util');
const grpc = require('@grpc/grpc-js');

/** Binds a server to what nginx's grpc://... takes: unix:/path, host:port. */
async function bind(server, address) {
  const path = address.startsWith('unix:') ? address.slice(5) : null;

  if (path !== null) {
    await removeStale(path);
  }

  const credentials = grpc.ServerCredentials.createInsecure();
  await promisify(server.bindAsync.bind(server))(address, credentials);

  if (path !== null) {
    // nginx's worker processes run as another user, and connecting takes the
    // right to write.  Who may come here is up to the directory.
    await fs.chmod(path, 0o666);
  }
}

/** A worker that was killed leaves its socket behind. */
async function removeStale(path) {
  const file = await fs.lstat(path).catch((error) => {
    if (error.code === 'ENOENT') {
      return null;
    }
    throw error;
  });

  if (file === null) {
    return;
  }

  if (!file.isSocket()) {
    throw new Error('it exists and is not a socket');
  }

  if (await isInUse(path)) {
    throw new Error('it is in use');
  }

  await fs.unlink(path);
}

function isInUse(path) {
  return new Promise((resolve) => {
    const probe = net.connect(path);
    probe.once('error', (error) => resolve(error.code !== 'ECONNREFUSED'));
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
  });
}

module.exports = { bind };
