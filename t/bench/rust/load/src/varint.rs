//! Variable-length integers, RFC 9000, section 16.

pub fn put(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend((value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => {
            out.extend((value as u32 | 0x8000_0000).to_be_bytes())
        }
        _ => out.extend((value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// The length of an integer, by its first byte.
pub fn length(first: u8) -> usize {
    1 << (first >> 6)
}

/// The value of an integer that is all there.
pub fn value(bytes: &[u8]) -> u64 {
    let first = u64::from(bytes[0] & 0x3f);
    bytes[1..].iter().fold(first, |sum, &b| sum << 8 | u64::from(b))
}

/// The first integer of some bytes and how long it is.
pub fn get(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = length(*bytes.first()?);
    Some((value(bytes.get(..length)?), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_can_be_got() {
        let edges = [0, 0x3f, 0x40, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000];
        for value in edges.into_iter().chain([(1 << 62) - 1]) {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(get(&out), Some((value, out.len())));
            assert_eq!(get(&out[..out.len() - 1]), None);
        }
    }
}
