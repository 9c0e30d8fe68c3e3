'use strict';

const { StreamError } = require('../lib/errors');
const { Session } = require('../lib/session');

/**
 * Sends everything back: a bidirectional stream on itself, a unidirectional one
 * on a new one, datagrams, and also the ways in which a stream can end.
 */
class Echo extends Session {
  async onStream(stream) {
    const back = stream.bidirectional ? stream : await this.openUni();

    try {
      for await (const data of stream) {
        await back.write(data);
      }

      back.end();
    } catch (error) {
      // A stream that was stopped cannot be reset any more, so this is for the
      // other case only.
      if (error instanceof StreamError) {
        back.reset(error.code);
      }

      throw error;
    }
  }

  onDatagram(data) {
    this.sendDatagram(data);
  }
}

module.exports = { Echo };
