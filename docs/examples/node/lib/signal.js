'use strict';

/** Something to wait for; whoever is woken looks what has become of it. */
class Signal {
  #waiting = [];

  wait() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  notify() {
    for (const resolve of this.#waiting.splice(0)) {
      resolve();
    }
  }
}

module.exports = { Signal };
