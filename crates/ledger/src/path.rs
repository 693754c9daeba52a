//! Where commits lie. The number has 20 digits, as many as the largest `u64`, so that name order is commit order.

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
}
