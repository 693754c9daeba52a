//! The pages that explain how a command can end, one for each code; the same that stand in `docs/reference/errors/`.
//!
//! They are part of the program: whoever has to restore may have nothing else at hand.

use super::Exit;

macro_rules! pages {
    ($($exit:ident => $code:literal),* $(,)?) => {
        /// Every ending that is not a success, its code, and its page in Markdown.
        const PAGES: &[(Exit, &str, &str)] = &[
            $((Exit::$exit, $code, include_str!(concat!("../../../../docs/reference/errors/", $code, ".md")))),*
        ];
    };
}

pages! {
    Failed => "failed",
    Usage => "usage",
    PartlyUnread => "partly_unread",
    NoRepository => "no_repository",
    Locked => "locked",
    WrongKey => "wrong_key",
    ApprovalPending => "approval_pending",
    Denied => "denied",
    CheckFailed => "check_failed",
    Unrestorable => "unrestorable",
    Cancelled => "cancelled",
    ReaderGone => "reader_gone",
}

/// The page of a code, by the word of JSON errors or by the process's exit code.
pub fn page(code: &str) -> Option<&'static str> {
    let number = code.parse::<u8>().ok();
    PAGES.iter().find(|(exit, name, _)| *name == code || number == Some(exit.code())).map(|(_, _, page)| *page)
}

/// All codes that have a page.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(_, code, _)| *code)
}

/// Where the page of a code stands in the repository of the source.
pub fn path(exit: Exit) -> String {
    format!("docs/reference/errors/{}.md", exit.name())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_its_page_and_every_page_a_code() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/errors");
        let files: BTreeSet<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let pages: BTreeSet<String> = codes().map(|code| format!("{code}.md")).collect();
        assert_eq!(files, pages);
        let endings: BTreeSet<&str> = Exit::ALL.iter().filter(|exit| **exit != Exit::Done).map(|e| e.name()).collect();
        assert_eq!(codes().collect::<BTreeSet<_>>(), endings);
        for (exit, code, page) in PAGES {
            assert_eq!(exit.name(), *code);
            assert!(page.starts_with(&format!("# `{code}` (exit code {})\n", exit.code())), "{code}");
            for part in ["\n## What it means for recovery\n", "\n## What to do\n"] {
                assert!(page.contains(part), "{code} lacks {part}");
            }
        }
    }

    #[test]
    fn a_page_is_found_by_word_and_by_number() {
        assert_eq!(page("unrestorable"), page("16"));
        assert!(page("16").is_some_and(|page| page.contains("gap")));
        assert_eq!((page("0"), page("done"), page("nonsense")), (None, None, None));
    }
}
