//! The part of QPACK (RFC 9204) that is needed without a dynamic table:
//! requests as literals, and of a response the status.

/// The static table, as far as it is used here.
const AUTHORITY: u8 = 0;
const PATH: u8 = 1;
const CONTENT_LENGTH: u8 = 4;
const CONNECT: u8 = 15;
const GET: u8 = 17;
const POST: u8 = 20;
const HTTPS: u8 = 23;
const ORIGIN: u8 = 90;

const STATUS: [(usize, u16); 14] = [
    (24, 103),
    (25, 200),
    (26, 304),
    (27, 404),
    (28, 503),
    (63, 100),
    (64, 204),
    (65, 206),
    (66, 302),
    (67, 400),
    (68, 403),
    (69, 421),
    (70, 425),
    (71, 500),
];

pub fn connect(
    authority: &str,
    path: &str,
    origin: &str,
    protocol: &str,
) -> Vec<u8> {
    let mut out = request(CONNECT, authority, path);
    literal(&mut out, ":protocol", protocol);
    reference(&mut out, ORIGIN, origin);
    literal(&mut out, "sec-webtransport-http3-draft02", "1");
    out
}

pub fn get(authority: &str, path: &str) -> Vec<u8> {
    request(GET, authority, path)
}

pub fn post(authority: &str, path: &str, length: usize) -> Vec<u8> {
    let mut out = request(POST, authority, path);
    reference(&mut out, CONTENT_LENGTH, &length.to_string());
    out
}

fn request(method: u8, authority: &str, path: &str) -> Vec<u8> {
    // no dynamic table: both integers of the prefix are 0
    let mut out = vec![0, 0, 0xc0 | method, 0xc0 | HTTPS];
    reference(&mut out, AUTHORITY, authority);
    reference(&mut out, PATH, path);
    out
}

/// An integer that begins in the lower bits of a byte.
fn integer(out: &mut Vec<u8>, flags: u8, bits: u8, value: usize) {
    let max = (1 << bits) - 1;

    if value < max {
        out.push(flags | value as u8);
        return;
    }

    out.push(flags | max as u8);
    let mut rest = value - max;

    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }

    out.push(rest as u8);
}

/// A field with a name of the static table.
fn reference(out: &mut Vec<u8>, name: u8, value: &str) {
    integer(out, 0x50, 4, name.into());
    integer(out, 0, 7, value.len());
    out.extend(value.bytes());
}

/// A field with a name of its own.
fn literal(out: &mut Vec<u8>, name: &str, value: &str) {
    integer(out, 0x20, 3, name.len());
    out.extend(name.bytes());
    integer(out, 0, 7, value.len());
    out.extend(value.bytes());
}

/// The status of a response.  It is the first field, as all pseudo-header
/// fields are; how the others are encoded does not matter.
pub fn status(block: &[u8]) -> Option<u16> {
    let mut rest = block;
    take(&mut rest, 8)?;
    take(&mut rest, 7)?;

    let first = *rest.first()?;

    if first & 0xc0 == 0xc0 {
        let index = take(&mut rest, 6)?;
        return STATUS.iter().find(|s| s.0 == index).map(|s| s.1);
    }

    if first & 0xd0 == 0x50 {
        let index = take(&mut rest, 4)?;
        STATUS.iter().find(|s| s.0 == index)?;
    } else if first & 0xe0 == 0x20 {
        // the name can only be :status, in whatever encoding
        let length = take(&mut rest, 3)?;
        rest = rest.get(length..)?;
    } else {
        return None;
    }

    let huffman = rest.first()? & 0x80 != 0;
    let length = take(&mut rest, 7)?;
    let value = rest.get(..length)?;

    if huffman {
        huffman_digits(value)
    } else {
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

fn take(rest: &mut &[u8], bits: u8) -> Option<usize> {
    let max = (1usize << bits) - 1;
    let mut value = *rest.first()? as usize & max;
    *rest = &rest[1..];

    if value < max {
        return Some(value);
    }

    for shift in (0..28).step_by(7) {
        let byte = *rest.first()?;
        *rest = &rest[1..];
        value += usize::from(byte & 0x7f) << shift;

        if byte & 0x80 == 0 {
            return Some(value);
        }
    }

    None
}

/// Three digits in HPACK's Huffman code: 0 to 2 have 5 bits, 00000 and so on;
/// 3 to 9 have 6, from 011001 on.
fn huffman_digits(value: &[u8]) -> Option<u16> {
    let mut bits = value.iter().fold(0u32, |b, &x| b << 8 | u32::from(x));
    let mut left = 8 * value.len();
    let mut status = 0;

    if value.len() > 3 {
        return None;
    }

    for _ in 0..3 {
        let (digit, used) = match bits >> left.checked_sub(5)? {
            short @ 0..=2 => (short, 5),
            _ => ((bits >> left.checked_sub(6)?).checked_sub(22)?, 6),
        };

        if digit > 9 {
            return None;
        }

        left -= used;
        bits &= (1 << left) - 1;
        status = 10 * status + digit as u16;
    }

    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_found_in_every_encoding() {
        assert_eq!(status(&[0, 0, 0xd9, 0xff]), Some(200));
        assert_eq!(status(&[0, 0, 0xff, 0x01]), Some(204));
        assert_eq!(status(b"\0\0\x5f\x09\x03405"), Some(405));
        assert_eq!(status(b"\0\0\x27\x00:status\x03429"), Some(429));
        // 429 is 011010 00010 011111, filled with ones
        assert_eq!(
            status(&[0, 0, 0x5f, 9, 0x83, 0b01101000, 0b01001111, 0b11111111]),
            Some(429)
        );
        // 200: 00010 00000 00000
        assert_eq!(status(&[0, 0, 0x5f, 9, 0x82, 0b00010000, 1]), Some(200));
        assert_eq!(status(&[0, 0]), None);
    }

    #[test]
    fn long_integers_have_more_bytes() {
        let mut out = Vec::new();
        integer(&mut out, 0x20, 3, 1337);
        assert_eq!(take(&mut &out[..], 3), Some(1337));
    }
}
