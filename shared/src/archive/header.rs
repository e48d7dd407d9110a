//! Tar headers: a pure function of a table's row. ustar, with a PAX record only where ustar cannot hold a name.
//!
//! Owner 0/0 without names, one modification time, modes 0644 and 0755 (links 0777): what does not vary cannot differ.
//! ustar defines its names as ASCII, so a name with any other character goes into a PAX record, which is UTF-8.

/// Every member's modification time: 1980-01-01T00:00:00Z, the oldest that zip files and all tar programs take gladly.
pub const MTIME: u64 = 315_532_800;
/// The unit everything in a tar file is padded to.
pub const BLOCK: u64 = 512;
/// The two zero blocks that end an archive.
pub const END: u64 = 2 * BLOCK;

/// The name of a PAX header member, and of a member whose real name is in its PAX record.
const PAX_NAME: &str = "pannier/pax";
const LONG_NAME: &str = "pannier/long-name";

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// A folder.
    Folder {
        /// Its path.
        path: &'a str,
    },
    /// A regular file.
    File {
        /// Its path.
        path: &'a str,
        /// Its size in bytes.
        size: u64,
        /// Its permission bits.
        mode: u32,
    },
    /// A symlink.
    Link {
        /// Its path.
        path: &'a str,
        /// Where it points.
        target: &'a str,
    },
}

impl Header<'_> {
    /// The header's bytes: one block, or three or more where a PAX record is needed.
    pub fn encode(&self) -> Vec<u8> {
        let (path, kind, size, mode, target) = match *self {
            Header::Folder { path } => (path, tar::EntryType::Directory, 0, 0o755, ""),
            Header::File { path, size, mode } => (path, tar::EntryType::Regular, size, mode, ""),
            Header::Link { path, target } => (path, tar::EntryType::Symlink, 0, 0o777, target),
        };
        let mut header = block(kind, size, mode);
        let mut records = Vec::new();
        if !set_path(&mut header, path) {
            records.extend(record("path", path));
            set_path(&mut header, LONG_NAME);
        }
        if !target.is_empty() && !set_target(&mut header, target) {
            records.extend(record("linkpath", target));
            set_target(&mut header, LONG_NAME);
        }
        header.set_cksum();
        let mut bytes = if records.is_empty() { Vec::new() } else { pax_member(records) };
        bytes.extend_from_slice(header.as_bytes());
        bytes
    }

    /// How many bytes [`Self::encode`] gives.
    pub fn length(&self) -> u64 {
        let fits = |name: &str| name.is_ascii() && name.len() <= 100;
        match *self {
            Header::Folder { path } | Header::File { path, .. } if fits(path) => BLOCK,
            Header::Link { path, target } if fits(path) && fits(target) => BLOCK,
            _ => self.encode().len() as u64,
        }
    }
}

/// How many zero bytes follow a content of `size` bytes.
pub fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK) - size
}

fn block(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A short name is set as it is: taking it apart and putting it together again was 1 % of the CPU time of a fetch.
fn set_path(header: &mut tar::Header, path: &str) -> bool {
    match header.as_ustar_mut().and_then(|ustar| ustar.name.get_mut(..path.len())) {
        Some(name) if path.is_ascii() => {
            name.copy_from_slice(path.as_bytes());
            true
        }
        _ => path.is_ascii() && header.set_path(path).is_ok(),
    }
}

fn set_target(header: &mut tar::Header, target: &str) -> bool {
    target.is_ascii() && target.len() <= 100 && header.set_link_name_literal(target).is_ok()
}

/// A PAX extended header (POSIX.1-2001, pax, "Extended Header") with its block and padding.
fn pax_member(records: Vec<u8>) -> Vec<u8> {
    let size = records.len() as u64;
    let mut header = block(tar::EntryType::XHeader, size, 0o644);
    set_path(&mut header, PAX_NAME);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(records);
    bytes.resize(bytes.len() + padding(size) as usize, 0);
    bytes
}

/// One record "LENGTH KEY=VALUE\n", where LENGTH counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_lengths_count_themselves() {
        for length in [1, 85, 86, 87, 88, 89, 90, 980, 985, 986, 987, 988, 989, 990, 995] {
            let text = record("path", &"x".repeat(length));
            let said: usize = String::from_utf8(text.clone()).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, text.len());
        }
    }

    #[test]
    fn short_ascii_names_need_one_block_and_others_a_record() {
        let length = |path: &str| Header::File { path, size: 1, mode: 0o644 }.length();
        let deep = format!("{}/{}", "d".repeat(150), "f".repeat(90));
        assert_eq!((length("a"), length(&deep)), (512, 512));
        assert_eq!((length("ü"), length(&"x".repeat(101))), (1536, 1536));
        assert_eq!(Header::Link { path: "l", target: &"t".repeat(101) }.length(), 1536);
    }

    #[test]
    fn the_tar_crate_reads_back_what_was_said() {
        let long = format!("{}/ü", "d/".repeat(100).trim_end_matches('/'));
        let header = Header::Link { path: &long, target: "../ziel-ü" }.encode();
        let mut archive = tar::Archive::new(&header[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path_bytes(), long.as_bytes());
        assert_eq!(entry.link_name_bytes().unwrap(), "../ziel-ü".as_bytes());
        assert_eq!(entry.header().mtime().unwrap(), MTIME);
    }
}
