//! Generated secrets and their generations: a rotated secret is another Secret beside the old one, so that nothing that is in
//! use changes, and nothing that was encrypted is lost.

use super::Tenant;
use crate::{
    api::v1alpha1::{GeneratedSecret, SecretKind},
    conditions::{Reason, Rejection},
};

/// Before the first rotation.
pub const FIRST: i32 = 1;

impl Tenant {
    /// Which generation of a generated secret is in use.
    pub fn generation(&self, name: &str) -> i32 {
        let rotations = self.spec.credentials.as_ref().map(|credentials| &credentials.rotations);
        rotations.and_then(|rotations| rotations.get(name)).copied().unwrap_or(FIRST).max(FIRST)
    }

    /// Name of the Secret of a generated secret.
    pub fn secret(&self, name: &str) -> String {
        secret_name(name, self.generation(name))
    }

    /// Which generation was in use before the last rotation; that in use, if there was none.
    pub fn previous_generation(&self, name: &str) -> i32 {
        (self.generation(name) - 1).max(FIRST)
    }

    /// Name of the Secret with the value before the last rotation.
    pub fn previous_secret(&self, name: &str) -> String {
        secret_name(name, self.previous_generation(name))
    }

    /// Only what the application declares can be rotated.
    pub(super) fn check_rotations(&self) -> Result<(), Rejection> {
        let mut rotations = self.spec.credentials.iter().flat_map(|credentials| credentials.rotations.keys());
        let declared: Vec<&str> = self.application.secrets.iter().map(|secret| secret.name.as_str()).collect();
        let stranger = rotations.find(|name| !declared.contains(&name.as_str()));
        stranger.map_or(Ok(()), |name| {
            let (application, known) = (&self.spec.application.name, declared.join(", "));
            let message = format!("application {application} declares no secret {name}; it declares: {known}");
            Err(Rejection::terminal(field(name), Reason::RotationRefused, message))
        })
    }
}

/// The field that asks for a rotation.
pub fn field(name: &str) -> String {
    format!("spec.credentials.rotations.{name}")
}

/// Secret object of one generation. A dot follows no other name, so that two secrets never share one.
pub fn secret_name(name: &str, generation: i32) -> String {
    let name = format!("app-{}", name.replace('_', "-"));
    if generation == FIRST { name } else { format!("{name}.{generation}") }
}

/// The generation of this secret that a Secret's name stands for.
pub fn generation_of(secret: &GeneratedSecret, object: &str) -> Option<i32> {
    let first = secret_name(&secret.name, FIRST);
    if object == first {
        return Some(FIRST);
    }
    let number = object.strip_prefix(&first)?.strip_prefix('.')?.parse().ok()?;
    (secret_name(&secret.name, number) == object).then_some(number)
}

/// Key that holds the value of a generated secret.
pub fn secret_key(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Random => "value",
        SecretKind::Rsa => "key.pem",
        SecretKind::Jwks => "jwks.base64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_name_in_every_generation_and_no_other_is() {
        let secret = GeneratedSecret { name: "session_key".to_owned(), kind: SecretKind::Random };
        for generation in [1, 2, 10] {
            assert_eq!(generation_of(&secret, &secret_name(&secret.name, generation)), Some(generation));
        }
        for other in
            ["app-session-key.1", "app-session-key.02", "app-session-key.2.rescue", "app-session-key-2", "app-session"]
        {
            assert_eq!(generation_of(&secret, other), None, "{other}");
        }
    }
}
