//! `backstay explain`: the page of an error code.

use serde::Serialize;

use super::Context;
use crate::args::ExplainArgs;
use crate::failure::{Exit, Failure, pages};

#[derive(Serialize)]
struct Explained<'a> {
    code: &'a str,
    /// The page, in Markdown.
    page: &'a str,
}

/// Prints it.
///
/// # Errors
/// When there is no such code, or stdout cannot be written.
pub fn run(context: &Context, args: &ExplainArgs) -> Result<Exit, Failure> {
    let Some(page) = pages::page(&args.code) else {
        let codes: Vec<&str> = pages::codes().collect();
        return Err(Failure::usage(format!("there is no error code “{}”", args.code))
            .hint(format!("the codes are: {}", codes.join(", "))));
    };
    context.document(&Explained { code: &args.code, page }, || page.trim_end().to_owned())?;
    Ok(Exit::Done)
}
