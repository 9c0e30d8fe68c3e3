// The scenario of t/lib/interop.py, for the JavaScript API of browsers.

// interop(url, hash, features, slowness): a result for each feature

async function interop(base, hash, features, slowness) {
    "use strict";

    const CODES = [0, 42, 255, 256, 0xffffffff];
    const PROTOCOLS = ["interop-1", "interop-2"];
    const BULK = 1 << 20;
    const STREAMS = 100;

    // what the other side sees last
    const SEEN_THERE = ["bidi-in", "uni-out", "datagram-out", "reset-out",
                        "stop-out"];

    const TIMEOUT = 10000 * slowness;

    function transport(path, options) {
        return new WebTransport(base + path, {
            serverCertificateHashes: [
                { algorithm: "sha-256", value: new Uint8Array(hash) }],
            ...options });
    }

    async function connect(path, options) {
        const wt = transport(path, options);
        wt.closed.catch(() => {});
        await wt.ready;
        return wt;
    }

    const bytes = text => new TextEncoder().encode(text);
    const text = data => new TextDecoder().decode(data);

    function expect(found, wanted) {
        if (found !== wanted) {
            throw new Error(`${found} instead of ${wanted}`);
        }
    }

    async function readAll(readable) {
        const reader = readable.getReader();
        const parts = [];
        for (;;) {
            const { value, done } = await reader.read();
            if (done) {
                return new Uint8Array(await new Blob(parts).arrayBuffer());
            }
            parts.push(value);
        }
    }

    async function next(readable) {
        const reader = readable.getReader();
        const { value } = await reader.read();
        reader.releaseLock();
        return value;
    }

    async function write(writable, data) {
        const writer = writable.getWriter();
        await writer.write(bytes(data));
        await writer.close();
    }

    // without stream credit some browsers refuse at once
    async function open(wt, uni = false) {
        const deadline = Date.now() + TIMEOUT;
        for (;;) {
            try {
                return await (uni ? wt.createUnidirectionalStream()
                                  : wt.createBidirectionalStream());
            } catch (e) {
                if (Date.now() > deadline) {
                    throw e;
                }
                await new Promise(resolve => setTimeout(resolve, 5));
            }
        }
    }

    async function echo(wt, data, answer) {
        const stream = await open(wt);
        const [found] = await Promise.all([
            readAll(stream.readable), write(stream.writable, data)]);
        expect(text(found), answer);
    }

    // a stream on which a byte has come back: both sides know of it
    async function opened(wt) {
        const stream = await open(wt);
        const writer = stream.writable.getWriter();
        const reader = stream.readable.getReader();
        await writer.write(bytes("x"));
        await reader.read();
        return { writer, reader };
    }

    // codes: those that the browser could express
    async function report(wt, codes) {
        await write(await open(wt, true), codes.join());
    }

    // the error for a stream with that code, null if there is none; the
    // arguments of the constructor have changed
    function streamError(code) {
        const options = { streamErrorCode: code };
        for (const parameters of [["", options], [options]]) {
            try {
                const error = new WebTransportError(...parameters);
                if (error.streamErrorCode === code) {
                    return error;
                }
            } catch (e) {
                // the other way, or not at all
            }
        }
        return null;
    }

    function possible() {
        return CODES.filter(code => streamError(code) !== null);
    }

    // half: a promise that the abort of one half of a stream rejects
    async function codesIn(wt, half) {
        const found = [];
        for (const code of CODES) {
            const stream = await open(wt);
            const writer = stream.writable.getWriter();
            const error = errorOf(half(stream, writer));
            writer.write(bytes(`${code}\n`)).catch(() => {});
            const { name, message, streamErrorCode } = await error;
            found.push(streamErrorCode === code ? "ok" : `${code} is `
                       + `${name} ${streamErrorCode}, ${message}`);
        }
        const first = found.findIndex(result => result !== "ok");
        wt.close();
        if (first > 0) {
            return `partly: codes up to ${CODES[first - 1]}`;
        }
        if (first === 0) {
            throw new Error(found.join("; "));
        }
    }

    async function errorOf(promise) {
        try {
            await promise;
        } catch (e) {
            return e;
        }
        throw new Error("no error");
    }

    const SCENARIO = {
        async "session"() { },

        async "protocol"(wt) {
            expect(wt.protocol, "interop-2");
        },

        async "bidi-out"(wt) {
            await echo(wt, "ping", "pong");
        },

        async "uni-out"(wt) {
            await write(await open(wt, true), "ping");
        },

        async "bidi-in"(wt) {
            const stream = await next(wt.incomingBidirectionalStreams);
            expect(text(await readAll(stream.readable)), "ping");
            await write(stream.writable, "pong");
        },

        async "uni-in"(wt) {
            const stream = await next(wt.incomingUnidirectionalStreams);
            expect(text(await readAll(stream)), "ping");
        },

        async "datagram-out"(wt) {
            const writable = wt.datagrams.writable
                             ?? wt.datagrams.createWritable();
            await writable.getWriter().write(bytes("ping"));
        },

        async "datagram-in"(wt) {
            expect(text(await next(wt.datagrams.readable)), "ping");
        },

        async "bulk"(wt) {
            const data = Uint8Array.from({ length: BULK },
                                         (_, i) => i * 7 + (i >> 8));
            const stream = await open(wt);
            const writer = stream.writable.getWriter();
            const writing = writer.write(data).then(() => writer.close());
            const found = await readAll(stream.readable);
            await writing;
            expect(found.length, data.length);
            expect(found.findIndex((byte, i) => byte !== data[i]), -1);
        },

        async "streams"(wt) {
            for (let i = 0; i < STREAMS; i++) {
                await echo(wt, "ping", "ping");
            }
        },

        async "reset-out"(wt) {
            const codes = possible();
            for (const code of codes) {
                const { writer, reader } = await opened(wt);
                await writer.abort(streamError(code)).catch(() => {});
                // Chromium crashes if the session ends before this half
                await reader.read();
            }
            await report(wt, codes);
        },

        async "stop-out"(wt) {
            const codes = possible();
            for (const code of codes) {
                const { writer, reader } = await opened(wt);
                await reader.cancel(streamError(code)).catch(() => {});
                await writer.close();
            }
            await report(wt, codes);
        },

        async "reset-in"(wt) {
            return codesIn(wt, stream => readAll(stream.readable));
        },

        async "stop-in"(wt) {
            return codesIn(wt, (stream, writer) => writer.closed);
        },

        async "close-in"(wt) {
            const { closeCode, reason } = await wt.closed;
            expect(`${closeCode} ${reason}`, `${0xfffffffe} ende \u00fc`);
        },

        async "close-out"(wt) {
            wt.close({ closeCode: 0xffffffff, reason: "bye \u00e4" });
        },

        async "drain-in"(wt) {
            await wt.draining;
        },
    };

    async function pooling() {
        // hashes are not for connections that are shared
        const sessions = [];
        for (let i = 0; i < 3; i++) {
            const wt = new WebTransport(`${base}/pooling`,
                                        { allowPooling: true });
            wt.closed.catch(() => {});
            await wt.ready;
            sessions.push(wt);
        }
        for (const [i, wt] of sessions.entries()) {
            await echo(wt, `${i}`, `${i}`);
        }
        sessions.forEach(wt => wt.close());
    }

    async function perform(feature) {
        if (feature === "pooling") {
            return pooling();
        }
        if (feature === "reject") {
            const wt = transport("/reject");
            wt.closed.catch(() => {});
            await errorOf(wt.ready);
            return;
        }
        const options = feature === "protocol" ? { protocols: PROTOCOLS } : {};
        const wt = await connect(`/${feature}`, options);
        const result = await SCENARIO[feature](wt);
        if (!SEEN_THERE.includes(feature) && !feature.startsWith("close")) {
            wt.close();
        }
        await wt.closed.catch(() => {});
        return result;
    }

    function unsupported(feature) {
        if (feature === "drain-out") {
            return "no API for DRAIN";
        }
        if (feature === "drain-in" && !("draining" in WebTransport.prototype)) {
            return "has no attribute \"draining\"";
        }
        if (feature === "protocol" && !("protocol" in WebTransport.prototype)) {
            return "has no attribute \"protocol\"";
        }
    }

    const results = {};
    for (const feature of features) {
        const why = unsupported(feature);
        if (why) {
            results[feature] = `unsupported: ${why}`;
            continue;
        }
        let timer;
        const late = new Promise((resolve, reject) => {
            timer = setTimeout(() => reject(new Error("timeout")), TIMEOUT);
        });
        try {
            results[feature] =
                await Promise.race([perform(feature), late]) ?? "ok";
        } catch (e) {
            results[feature] = `failed: ${e.message}`;
        }
        clearTimeout(timer);
    }
    return results;
}
