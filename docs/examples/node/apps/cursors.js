'use strict';

const { Session } = require('../lib/session');

// Datagrams that are longer say more than where a cursor is.
const MAX_LENGTH = 100;

const sessions = new Set();
let last = 0;

/**
 * Everybody sees everybody else's mouse.  A client sends its position as a
 * datagram, {"x": 0.5, "y": 0.25}, parts of the page's size; the others get it
 * with a number, {"id": 7, "x": 0.5, "y": 0.25}, and in the end
 * {"id": 7, "gone": true}.  Any datagram may be lost, the last one too, so a
 * page should also forget cursors that have not moved for some time.
 */
class Cursors extends Session {
  #number;

  onConnect() {
    this.accept();
    this.#number = ++last;
    sessions.add(this);
  }

  onDatagram(data) {
    const at = data.length <= MAX_LENGTH ? parse(data) : null;

    // Pass on what was understood, never what was received.
    if (isPart(at?.x) && isPart(at?.y)) {
      this.#tellOthers({ id: this.#number, x: at.x, y: at.y });
    }
  }

  onClose() {
    sessions.delete(this);
    this.#tellOthers({ id: this.#number, gone: true });
  }

  #tellOthers(message) {
    const datagram = Buffer.from(JSON.stringify(message));

    for (const session of sessions) {
      if (session !== this) {
        session.sendDatagram(datagram);
      }
    }
  }
}

function parse(data) {
  try {
    return JSON.parse(data.toString());
  } catch {
    return null;
  }
}

function isPart(value) {
  return typeof value === 'number' && value >= 0 && value <= 1;
}

module.exports = { Cursors };
