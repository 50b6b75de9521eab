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
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, several): (_, &[Box<str>]) = match self {
            Self::Binary => (Some(Self::BINARY), &[]),
            Self::One(one) => (Some(one.as_str()), &[]),
            Self::Several(several) => (None, several),
            Self::Any => (None, &[]),
        };
        one.into_iter().chain(several.iter().map(|one| &**one))
    }

    /// All of them, for a ticket.
    pub(super) fn list(&self) -> impl Iterator<Item = ContentType> {
        self.texts().filter_map(|one| one.parse().ok())
    }

    /// Whether the client must choose one.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self, Self::Several(several) if !several.is_empty())
    }

    /// This one type, if it is among them.
    pub(super) fn narrowed(&self, asked: &ContentType, allow_active: bool) -> Option<Self> {
        let asked_for = asked.as_str();
        let granted = match self {
            Self::Any => allow_active || !is_active(asked_for),
            _ => self.texts().any(|one| one == asked_for),
        };
        (granted && !asked_for.contains('$')).then(|| Self::One(asked.clone()))
    }

    pub(super) fn check(&self, allow_active: bool) -> Result<(), PolicyError> {
        let problem = match self {
            Self::Several(several) if several.is_empty() => FieldProblem::EmptyList,
            _ if !allow_active && self.texts().any(is_active) => FieldProblem::ActiveContent,
            _ if self.texts().any(|one| one.contains('$')) => FieldProblem::Dollar,
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
        "html" | "xml" | "xsl" | "x-mixed-replace" | "unknown"
    );
    let script = matches!(
        subtype,
        "x-javascript" | "javascript" | "x-ecmascript" | "ecmascript" | "jscript" | "livescript"
    ) || subtype.starts_with("javascript1.");
    document || script || subtype.ends_with("+xml")
}
