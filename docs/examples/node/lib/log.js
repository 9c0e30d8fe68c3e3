'use strict';

let quiet = false;

function setQuiet(value) {
  quiet = value;
}

/** What happens; clients choose much of it, so no control characters. */
function info(line) {
  if (!quiet) {
    console.log(line.replace(/\p{Cc}/gu, '?'));
  }
}

function error(line, cause) {
  console.error(line, cause);
}

module.exports = { error, info, setQuiet };
