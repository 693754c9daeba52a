//! Where commits and checkpoints lie.
//!
//! A commit's number has 20 digits, as many as the largest `u64`, so that name order is commit order, and one listing
//! after a commit that is known finds the head. Checkpoints are named the other way round, newest first, so that the first
//! page of a listing has the newest however many there are; the number itself follows, for people.
//!
//! ```text
//!   vaults/{name}/chain/00000000000000000512
//!   vaults/{name}/checkpoints/18446744073709551103-512       2⁶⁴ − 1 − 512
//! ```

/// The folder of a vault's commits, with a slash at the end.
pub fn chain_prefix(vault: &str) -> String {
    format!("vaults/{vault}/chain/")
}

/// The path of one commit.
pub fn commit_path(vault: &str, seq: u64) -> String {
    format!("vaults/{vault}/chain/{seq:020}")
}

/// The number of the commit at `path`; `None` when it is not a commit's path.
pub(crate) fn parse_seq(vault: &str, path: &str) -> Option<u64> {
    let name = path.strip_prefix(&chain_prefix(vault))?;
    let canonical = name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit());
    if canonical { name.parse().ok() } else { None }
}

/// The folder of a vault's checkpoints, with a slash at the end.
pub fn checkpoint_prefix(vault: &str) -> String {
    format!("vaults/{vault}/checkpoints/")
}

/// The path of the checkpoint of one commit.
pub fn checkpoint_path(vault: &str, seq: u64) -> String {
    format!("vaults/{vault}/checkpoints/{:020}-{seq}", u64::MAX - seq)
}

/// The number of the commit whose checkpoint is at `path`; `None` when it is not a checkpoint's path.
pub(crate) fn parse_checkpoint(vault: &str, path: &str) -> Option<u64> {
    let (_, seq) = path.strip_prefix(&checkpoint_prefix(vault))?.split_once('-')?;
    seq.parse().ok().filter(|seq| checkpoint_path(vault, *seq) == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_its_number() {
        for seq in [0, 7, u64::MAX] {
            assert_eq!(parse_seq("shop", &commit_path("shop", seq)), Some(seq));
        }
        assert_eq!(commit_path("shop", 7), "vaults/shop/chain/00000000000000000007");
    }

    #[test]
    fn other_names_are_no_commits() {
        for path in
            ["vaults/shop/chain/7", "vaults/shop/chain/+0000000000000000007", "vaults/x/chain/00000000000000000007"]
        {
            assert_eq!(parse_seq("shop", path), None, "{path}");
        }
        assert_eq!(parse_seq("shop", "vaults/shop/chain/99999999999999999999"), None);
    }

    #[test]
    fn newer_checkpoints_come_first_and_read_back_their_number() {
        for seq in [0, 7, 512, u64::MAX] {
            assert_eq!(parse_checkpoint("shop", &checkpoint_path("shop", seq)), Some(seq));
        }
        assert!(checkpoint_path("shop", 1024) < checkpoint_path("shop", 512));
        for name in ["7", "18446744073709551608-8", "18446744073709551608-+7", "18446744073709551608-07"] {
            assert_eq!(parse_checkpoint("shop", &format!("vaults/shop/checkpoints/{name}")), None, "{name}");
        }
    }
}
