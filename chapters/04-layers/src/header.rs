//! The 512 bytes of a tar header: numbers and checksum, for reading and writing.
//!
//! `tar::Header` knows where the fields lie. Numbers are read here, because sizes, times and owners
//! of the last decades have outgrown octal digits, and a negative time must not become a time in
//! the year 2554.

use tar::Header;

/// Everything in a tar file is padded to multiples of this.
pub(crate) const BLOCK: u64 = 512;

/// Bytes of padding after `size` bytes of data.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK
}

/// A number field: octal digits, or, if the first bit is set, a big-endian number in base 256
/// (GNU), negative if the second bit is set too. An empty field is 0.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let start =
            if first & 0x40 != 0 { i64::from(first as i8) } else { i64::from(first & 0x3f) };
        return rest
            .iter()
            .try_fold(start, |sum, byte| sum.checked_mul(256).map(|sum| sum | i64::from(*byte)));
    }
    let text = field.trim_ascii_start();
    let end = text.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(text.len());
    text[..end].iter().try_fold(0_i64, |sum, byte| match byte {
        b'0'..=b'7' => sum.checked_mul(8).map(|sum| sum + i64::from(byte - b'0')),
        _ => None,
    })
}

/// Whether the checksum is right: the sum of all bytes, with the checksum's own counted as spaces.
/// Some old writers summed signed bytes.
pub(crate) fn checksum_is_right(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let others = || bytes[..148].iter().chain(&bytes[156..]);
    let unsigned = || others().map(|byte| i64::from(*byte)).sum::<i64>() + 8 * 32;
    let signed = || others().map(|byte| i64::from(*byte as i8)).sum::<i64>() + 8 * 32;
    number(&header.as_old().cksum).is_some_and(|sum| sum == unsigned() || sum == signed())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_ages() {
        let table: &[(&[u8], Option<i64>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o7777_7777)),
            (b"0000648\0", None),
            (b"-1\0", None),
            (b"\x80\0\0\0\0\x20\0\0", Some(0x20_0000)),
            (b"\x80\0\0\0\xff\xff\xff\xfe", Some(0xffff_fffe)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\0", Some(-512)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, expected) in table {
            assert_eq!(number(field), *expected, "{field:?}");
        }
    }

    #[test]
    fn checksums_of_both_kinds() {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[0] = 0xe9;
        header.set_cksum();
        assert!(checksum_is_right(&header));
        let signed = number(&header.as_old().cksum).unwrap() - 256;
        header.as_old_mut().cksum.copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
        assert!(checksum_is_right(&header));
        header.as_old_mut().name[0] = b'x';
        assert!(!checksum_is_right(&header));
    }
}
