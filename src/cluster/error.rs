use std::time::Duration;

use kube::core::Status;

use crate::{error::ErrorClass, objects::Ref, ports};

/// What a request asks for; value of the `verb` metric label and part of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Server-side apply.
    Apply,
    /// POST of a new object.
    Create,
    /// DELETE with preconditions.
    Delete,
    /// Read of one object.
    Get,
    /// Merge patch of metadata.
    Patch,
    /// Write of a status subresource.
    Status,
    /// POST of an Event.
    Event,
}

impl Verb {
    /// Lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::Patch => "patch",
            Self::Status => "status",
            Self::Event => "event",
        }
    }
}

/// Why the cluster was not changed. Never carries content of a Secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica may be the leader by now.
    #[error("{verb} of {at} was not sent: the leader lease is no longer certain", verb = verb.as_str())]
    Fenced {
        /// What was to be done.
        verb: Verb,
        /// The object.
        at: String,
    },
    /// The API server answered with an error.
    #[error("{verb} of {at} was refused with {code} {reason}: {message}", verb = verb.as_str())]
    Refused {
        /// What was asked for.
        verb: Verb,
        /// The object.
        at: String,
        /// HTTP status.
        code: u16,
        /// Machine-readable reason, for example `Forbidden`.
        reason: String,
        /// The API server's words; withheld for Secrets.
        message: String,
    },
    /// No answer in time.
    #[error("{verb} of {at} was not answered within {waited:?}", verb = verb.as_str())]
    TimedOut {
        /// What was asked for.
        verb: Verb,
        /// The object.
        at: String,
        /// How long it waited.
        waited: Duration,
    },
    /// The request did not get through.
    #[error("{verb} of {at} did not reach the API server: {message}", verb = verb.as_str())]
    Unreachable {
        /// What was asked for.
        verb: Verb,
        /// The object.
        at: String,
        /// The client's words.
        message: String,
    },
    /// The object holds patient data or what is needed to read it.
    #[error("{0} is not deleted: objects of this kind hold patient data; remove it by hand after a verified backup")]
    DeleteData(String),
    /// Two Secrets contradict each other.
    #[error("{at} cannot be restored: {reason}")]
    RestoreSecret {
        /// The Secret.
        at: String,
        /// What is in the way and what a person can do.
        reason: &'static str,
    },
    /// Someone else keeps a field of an object that must be exactly as rendered.
    #[error(
        "{at} is not as it must be: {path} is held by another field manager; remove that field, or the object, by hand"
    )]
    Contested {
        /// The object.
        at: String,
        /// Path of the field.
        path: String,
    },
    /// A rendered object is none.
    #[error("{0} was rendered without apiVersion, kind or metadata; this is a defect of the operator")]
    Unreadable(String),
    /// Key material could not be made.
    #[error(transparent)]
    MakeSecret(#[from] ports::Error),
}

impl Error {
    /// From an answer of the client. Messages about Secrets are withheld: a validation error may quote a value.
    pub(super) fn from_client(verb: Verb, at: &Ref, error: kube::Error) -> Self {
        let place = at.to_string();
        match error {
            kube::Error::Api(status) => {
                let Status { code, reason, message, .. } = *status;
                let message = if at.kind.kind == "Secret" { "(message withheld)".to_owned() } else { message };
                Self::Refused { verb, at: place, code, reason, message }
            }
            // These may carry a piece of the answer.
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::Unreachable { verb, at: place, message: "the answer could not be read".to_owned() }
            }
            other => Self::Unreachable { verb, at: place, message: other.to_string() },
        }
    }

    /// HTTP status of the API server's answer, if it answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Who can mend it.
    pub fn class(&self) -> ErrorClass {
        match self {
            // Rendered from the spec, so only another spec helps.
            Self::Refused { code: 400 | 405 | 413 | 415 | 422, .. } | Self::DeleteData(_) | Self::Unreadable(_) => {
                ErrorClass::Terminal
            }
            // The namespace or the CRD has to come first, or the namespace is on its way out.
            Self::Refused { code: 404, .. } => ErrorClass::Waiting,
            Self::Refused { code: 403, message, .. } if message.contains("being terminated") => ErrorClass::Waiting,
            _ => ErrorClass::Transient,
        }
    }

    /// Whether only this one object is refused, and the API server takes others.
    pub fn concerns_one_object(&self) -> bool {
        matches!(
            self,
            Self::Refused { code: 400 | 409 | 413 | 422, .. }
                | Self::DeleteData(_)
                | Self::Unreadable(_)
                | Self::Contested { .. }
                | Self::RestoreSecret { .. }
        )
    }

    /// Value of the `result` metric label.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Fenced { .. } => "fenced",
            Self::Refused { code: 409, .. } => "conflict",
            Self::Refused { code: 403 | 401, .. } => "forbidden",
            Self::Refused { code: 404, .. } => "not_found",
            Self::Refused { code: 422 | 400, .. } => "invalid",
            Self::Refused { code: 429, .. } => "throttled",
            Self::TimedOut { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            _ => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::objects::kind::{CONFIG_MAP, SECRET};

    fn refused(kind: crate::objects::Kind, code: u16, message: &str) -> Error {
        let at = Ref { kind, namespace: "his-x".to_owned(), name: "app".to_owned() };
        Error::from_client(
            Verb::Create,
            &at,
            kube::Error::Api(Box::new(Status::failure(message, "Invalid").with_code(code))),
        )
    }

    #[test]
    fn a_refusal_about_a_secret_never_repeats_the_api_servers_words() {
        assert!(!refused(SECRET, 422, "data: Invalid value: hunter2").to_string().contains("hunter2"));
        assert!(refused(CONFIG_MAP, 422, "data: Invalid value: x").to_string().contains("Invalid value"));
    }

    #[test]
    fn failures_are_classed_by_who_can_mend_them() {
        for (code, class) in [
            (422, ErrorClass::Terminal),
            (404, ErrorClass::Waiting),
            (403, ErrorClass::Transient),
            (409, ErrorClass::Transient),
            (410, ErrorClass::Transient),
            (429, ErrorClass::Transient),
            (503, ErrorClass::Transient),
        ] {
            assert_eq!(refused(CONFIG_MAP, code, "no").class(), class, "{code}");
        }
        let gone = "namespaces \"his-x\" is forbidden: unable to create new content because it is being terminated";
        assert_eq!(refused(CONFIG_MAP, 403, gone).class(), ErrorClass::Waiting);
    }
}
