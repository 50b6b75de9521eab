//! Which types an object may have.

use super::error::{FieldProblem, PolicyError};
use crate::protocol::ContentType;

/// The field that outranks the type of the file part and of the form.
const FIELD: &str = "x-oss-content-type";

/// What the policy says about the type of the object.
#[derive(Clone, Debug)]
pub(super) enum ContentTypes {
    /// Nothing was said: bytes, which no browser runs.
    Binary,
    One(ContentType),
    /// The client adds `x-oss-content-type` itself.
    Several(Vec<Box<str>>),
    /// Not conditioned.
    Any,
}

impl ContentTypes {
    pub(super) const BINARY: &'static str = "application/octet-stream";

    pub(super) fn of(types: impl IntoIterator<Item = ContentType>) -> Self {
        let mut types: Vec<_> = types.into_iter().collect();
        match types.pop() {
            Some(one) if types.is_empty() => Self::One(one),
            last => {
                let all = types.iter().chain(&last);
                Self::Several(all.map(|one| one.as_str().into()).collect())
            }
        }
    }

    /// All of them; none when any is allowed.
    pub(super) fn list(&self) -> Vec<ContentType> {
        let list: &[&str] = match self {
            Self::Binary => &[Self::BINARY],
            Self::One(one) => return vec![one.clone()],
            Self::Several(several) => {
                return several.iter().filter_map(|one| one.parse().ok()).collect();
            }
            Self::Any => &[],
        };
        list.iter().filter_map(|one| one.parse().ok()).collect()
    }

    /// Whether the client must choose one.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self, Self::Several(several) if !several.is_empty())
    }

    /// This one type, if it is among them.
    pub(super) fn narrowed(&self, asked: &ContentType, allow_active: bool) -> Option<Self> {
        let asked_for = asked.as_str();
        let granted = match self {
            Self::Binary => asked_for == Self::BINARY,
            Self::One(one) => one == asked,
            Self::Several(several) => several.iter().any(|one| **one == *asked_for),
            Self::Any => allow_active || !is_active(asked_for),
        };
        (granted && !asked_for.contains('$')).then(|| Self::One(asked.clone()))
    }

    pub(super) fn check(&self, allow_active: bool) -> Result<(), PolicyError> {
        let problem = match self {
            Self::One(one) if !allow_active && is_active(one.as_str()) => {
                FieldProblem::ActiveContent
            }
            Self::Several(several) if several.is_empty() => FieldProblem::EmptyList,
            Self::Several(several) if !allow_active && several.iter().any(|t| is_active(t)) => {
                FieldProblem::ActiveContent
            }
            Self::One(one) if one.as_str().contains('$') => FieldProblem::Dollar,
            Self::Several(several) if several.iter().any(|t| t.contains('$')) => {
                FieldProblem::Dollar
            }
            Self::Several(several) if repeats(several) => FieldProblem::Repeated,
            _ => return Ok(()),
        };
        Err(PolicyError::field(FIELD, problem))
    }
}

fn repeats(types: &[Box<str>]) -> bool {
    let before = |at: usize| types.get(..at).unwrap_or_default();
    types
        .iter()
        .enumerate()
        .any(|(at, one)| before(at).contains(one))
}

/// Whether browsers run scripts in it when it is opened: HTML, everything that is XML (an XML document can hold XHTML),
/// and scripts themselves, which a page or a service worker of the same domain could load.
fn is_active(content_type: &str) -> bool {
    let subtype = content_type
        .split_once('/')
        .map_or(content_type, |(_, subtype)| subtype);
    // Of an unknown type browsers look at the bytes.
    let document = matches!(
        subtype,
        "html" | "xml" | "xsl" | "x-mixed-replace" | "unknown" | "*"
    );
    let script = matches!(
        subtype,
        "x-javascript" | "javascript" | "x-ecmascript" | "ecmascript"
    ) || matches!(subtype, "jscript" | "livescript")
        || subtype.starts_with("javascript1.");
    document || script || subtype.ends_with("+xml")
}
