//! Tenant rules: whose record it is.
//!
//! ```text
//!   rules (first match wins) ── per namespace, once ──▶ Owner { fields to try, then a fixed name }
//!                                                         └─ per record ──▶ a tenant's name
//! ```
//!
//! A rule names the namespaces it is for, by a pattern, and where the tenant's name comes from: a field of the record, the
//! part of the namespace's name that `{id}` captures, or a constant. A record without a usable value in a rule's field goes
//! to the next rule that is for its namespace; a record that no rule assigns is
//! [`Tenant::UNASSIGNED_NAME`]'s. A rule for a time series is for its buckets. Definitions of views are nobody's in particular: they are `_views`'.

use std::borrow::Cow;

use backstay_model::Tenant;

use crate::interpret::extjson;
use crate::interpret::pattern::Pattern;
use crate::interpret::raw::{self, Element, Result, kind};
use crate::interpret::scope::common_name;

/// The tenant that definitions of views are kept under.
pub const VIEWS: &str = "_views";

/// Longer values of a tenant field name no tenant.
const LONGEST_NAME: usize = 1024;

/// Where a rule takes the tenant's name from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A field of the record, by its dotted path.
    Field(String),
    /// The part of the namespace's name that `{id}` in the pattern stands for.
    Capture,
    /// This very name.
    Fixed(String),
}

/// One rule as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The pattern of the namespaces that it is for.
    pub ns: String,
    /// Where the tenant's name comes from.
    pub origin: Origin,
}

/// Checked rules, in order.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<(Pattern, Origin)>);

impl Rules {
    /// Checks rules.
    ///
    /// # Errors
    /// In words: what is wrong with which rule.
    pub fn compile(rules: impl IntoIterator<Item = Rule>) -> std::result::Result<Rules, String> {
        let check = |rule: Rule| {
            let pattern = Pattern::parse(&rule.ns).map_err(|why| format!("tenant rule: {why}"))?;
            match &rule.origin {
                Origin::Field(path) if path.is_empty() || path.split('.').any(str::is_empty) => {
                    return Err(format!("tenant rule for “{}”: “{path}” is not the path of a field", rule.ns));
                }
                Origin::Fixed(name) if name.is_empty() => {
                    return Err(format!("tenant rule for “{}”: the fixed name is empty", rule.ns));
                }
                Origin::Capture if !pattern.captures() => {
                    return Err(format!(
                        "tenant rule for “{}”: it needs a field, a fixed name, or {{id}} in the pattern",
                        rule.ns
                    ));
                }
                _ => {}
            }
            Ok((pattern, rule.origin))
        };
        Ok(Rules(rules.into_iter().map(check).collect::<std::result::Result<_, _>>()?))
    }

    /// What the rules say for one namespace.
    pub fn owner(&self, ns: &str) -> Owner {
        if ns.split_once('.').is_some_and(|(_, collection)| collection == "system.views") {
            return Owner { fields: Vec::new(), otherwise: Tenant::new(VIEWS) };
        }
        let series = common_name(ns);
        let mut fields = Vec::new();
        for (pattern, origin) in &self.0 {
            let by_series = || series.as_deref().and_then(|series| pattern.matches(series));
            let Some(captured) = pattern.matches(ns).or_else(by_series) else { continue };
            let name = match origin {
                Origin::Field(path) => {
                    fields.push(path.split('.').map(|part| part.as_bytes().into()).collect());
                    continue;
                }
                Origin::Capture => captured,
                Origin::Fixed(name) => name,
            };
            return Owner { fields, otherwise: Tenant::new(name) };
        }
        Owner { fields, otherwise: Tenant::new(Tenant::UNASSIGNED_NAME) }
    }
}

/// What the rules say for one namespace. Equal ones assign every record alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The fields to try, as paths.
    fields: Vec<Vec<Box<[u8]>>>,
    /// Whose it is when no field tells.
    otherwise: Tenant,
}

impl Owner {
    /// The one owner of all records of the namespace, when that does not depend on the record.
    pub fn constant(&self) -> Option<&Tenant> {
        self.fields.is_empty().then_some(&self.otherwise)
    }

    /// The outermost names of the fields that decide.
    pub fn roots(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter_map(|path| path.first()).map(AsRef::as_ref)
    }

    /// The fields that decide, as dotted paths, in the order in which they are tried.
    pub fn paths(&self) -> Vec<String> {
        let name = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        self.fields.iter().map(|path| path.iter().map(|part| name(part)).collect::<Vec<_>>().join(".")).collect()
    }

    /// Whose record `image` is; `None` when that is the same for all that no field assigns.
    ///
    /// # Errors
    /// When the image is malformed.
    pub fn by_field<'a>(&self, image: &'a [u8]) -> Result<Option<Cow<'a, str>>> {
        for path in &self.fields {
            if let Some(value) = find(image, path)?
                && let Some(name) = name(value)?
            {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Whose record `image` is.
    ///
    /// # Errors
    /// When the image is malformed.
    pub fn of(&self, image: &[u8]) -> Result<Tenant> {
        Ok(match self.by_field(image)? {
            Some(name) => Tenant::new(&name),
            None => self.otherwise.clone(),
        })
    }

    /// The owner of what no field assigns.
    pub fn otherwise(&self) -> &Tenant {
        &self.otherwise
    }
}

fn find<'a>(image: &'a [u8], path: &[Box<[u8]>]) -> Result<Option<Element<'a>>> {
    let Some((last, parents)) = path.split_last() else { return Ok(None) };
    let mut document = image;
    for part in parents {
        match raw::find(document, part)?.and_then(|field| field.as_document()) {
            Some(inner) => document = inner,
            None => return Ok(None),
        }
    }
    raw::find(document, last)
}

/// The name that a value gives; `None` when it gives none.
fn name(value: Element<'_>) -> Result<Option<Cow<'_, str>>> {
    let name = match value.kind {
        kind::NULL | kind::UNDEFINED => return Ok(None),
        kind::STRING => String::from_utf8_lossy(value.text().unwrap_or_default()),
        kind::BOOL => Cow::Borrowed(if value.is_true() { "true" } else { "false" }),
        kind::OBJECT_ID => Cow::Owned(backstay_model::hex(value.value)),
        kind::INT32 | kind::INT64 | kind::DOUBLE if value.as_integer().is_some() => {
            Cow::Owned(value.as_integer().unwrap_or_default().to_string())
        }
        _ if value.value.len() > LONGEST_NAME => return Ok(None),
        _ => match value.as_binary() {
            Some((4, bytes)) if bytes.len() == 16 => Cow::Owned(extjson::uuid(bytes)),
            _ => Cow::Owned(extjson::value(value)?),
        },
    };
    // The empty name is the system space's.
    Ok((!name.is_empty() && name.len() <= LONGEST_NAME).then_some(name))
}

#[cfg(test)]
mod tests;
