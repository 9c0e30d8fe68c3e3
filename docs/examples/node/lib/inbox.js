'use strict';

const { Signal } = require('./signal');

/**
 * Takes batches from a call, one at a time; HTTP/2 makes nginx wait meanwhile.
 * The call's own iterator will not do: if the session fails, it destroys the
 * call, and with it the status that we want to send.
 */
class Inbox {
  #call;
  #arrived = new Signal();
  #over = false;

  constructor(call) {
    this.#call = call;
    call.on('readable', () => this.#arrived.notify());

    for (const event of ['end', 'close']) {
      call.once(event, () => {
        this.#over = true;
        this.#arrived.notify();
      });
    }
  }

  /** The next batch, null if there is none. */
  async next() {
    for (;;) {
      const batch = this.#call.read();

      if (batch !== null || this.#over) {
        return batch;
      }

      await this.#arrived.wait();
    }
  }
}

module.exports = { Inbox };
