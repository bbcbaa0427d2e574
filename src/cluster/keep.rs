//! A generated credential that somebody deleted comes back with its old value.
//!
//! The Secret carries a finalizer, so a deletion only marks it: its content is still readable, but it can never be unmarked.
//! Its content is therefore copied to a twin, the original is let go, made anew from the twin, and the twin removed.
//! Guarantees: [`next`] is pure and total; each step is idempotent, and at every moment at least one Secret with the content
//! exists, so a crash between any two steps loses nothing.

use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{Error, Verb, Writer};
use crate::{
    names,
    objects::{Observed, Ref},
};

/// More than a full restoration takes.
const STEPS: usize = 8;

/// Address of the twin of a Secret.
pub fn twin_of(at: &Ref) -> Ref {
    Ref { name: format!("{}{}", at.name, names::RESCUE), ..at.clone() }
}

/// Whether a generated Secret is deleted or a restoration of it was interrupted, as far as the caches know.
pub fn needs_rescue(observed: &Observed, at: &Ref) -> bool {
    let deleted = observed.objects.get(at).is_some_and(|secret| secret.metadata.deletion_timestamp.is_some());
    deleted || observed.objects.contains_key(&twin_of(at))
}

/// What is known of one of the two Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    deleted: bool,
    kept: bool,
    /// Type and content; compared, never shown.
    content: Content,
}

#[derive(Clone, PartialEq, Eq)]
struct Content(String);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(content)")
    }
}

/// The one thing to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    CopyToTwin,
    LetOriginalGo,
    CreateOriginal,
    RemoveTwin,
    /// Something else still holds an object that is deleted; its end wakes us.
    Wait,
    Done,
    /// Neither is there: nothing was generated yet.
    Absent,
    /// Two live Secrets with different content: a person has to say which one is right.
    Contradiction,
}

fn next(original: Option<&State>, twin: Option<&State>) -> Step {
    match (original, twin) {
        (None, None) => Step::Absent,
        (None, Some(_)) => Step::CreateOriginal,
        (Some(original), None) if original.deleted => Step::CopyToTwin,
        (Some(_), None) => Step::Done,
        (Some(original), Some(twin)) if original.content != twin.content => {
            // The original is what is in use; while it exists, an old copy is worth nothing.
            if original.deleted {
                if twin.deleted && !twin.kept { Step::Wait } else { Step::RemoveTwin }
            } else {
                Step::Contradiction
            }
        }
        (Some(original), Some(twin)) if original.deleted => match (twin.deleted, original.kept) {
            // A twin that is itself on its way out protects nothing any more once it is let go; it is kept until then.
            (true, _) if !twin.kept => Step::Wait,
            (_, true) => Step::LetOriginalGo,
            (_, false) => Step::Wait,
        },
        (Some(_), Some(twin)) if twin.deleted && !twin.kept => Step::Wait,
        (Some(_), Some(_)) => Step::RemoveTwin,
    }
}

fn state(secret: &DynamicObject) -> State {
    let part = |name: &str| secret.data.get(name).cloned().unwrap_or_default();
    State {
        deleted: secret.metadata.deletion_timestamp.is_some(),
        kept: secret.finalizers().iter().any(|finalizer| finalizer == names::KEEP_FINALIZER),
        content: Content(crate::objects::digest(&(part("type"), part("data")))),
    }
}

impl Writer {
    /// Brings a deleted Secret back; false when something else still holds the old one and it has to be tried again.
    pub async fn restore_secret(&self, at: &Ref) -> Result<bool, Error> {
        let twin_at = twin_of(at);
        for _ in 0..STEPS {
            let original = self.read_secret(at).await?;
            let twin = self.read_secret(&twin_at).await?;
            let step = next(original.as_ref().map(state).as_ref(), twin.as_ref().map(state).as_ref());
            tracing::debug!(secret = %at, ?step, "restoring");
            match (step, original, twin) {
                (Step::CopyToTwin, Some(original), _) => {
                    self.post(Verb::Create, &twin_at, copy(&original, &twin_at)).await?;
                }
                (Step::LetOriginalGo, Some(original), _) => self.let_go(at, &original).await?,
                (Step::CreateOriginal, _, Some(twin)) => {
                    self.post(Verb::Create, at, copy(&twin, at)).await?;
                    tracing::warn!(secret = %at, "a deleted credential was restored with its old value");
                }
                (Step::RemoveTwin, _, Some(twin)) => self.remove_twin(&twin_at, &twin).await?,
                (Step::Contradiction, ..) => {
                    let reason = "it and its copy with the suffix .rescue differ; remove the one that is wrong, after its finalizer";
                    return Err(Error::RestoreSecret { at: at.to_string(), reason });
                }
                (Step::Wait, ..) => return Ok(false),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    pub(super) async fn read_secret(&self, at: &Ref) -> Result<Option<DynamicObject>, Error> {
        self.send(Verb::Get, at, self.api(at).get_opt(&at.name)).await
    }

    /// Deletes a twin: first marked, then let go, so that a crash in between is seen and mended.
    async fn remove_twin(&self, at: &Ref, twin: &DynamicObject) -> Result<(), Error> {
        if twin.metadata.deletion_timestamp.is_none() {
            self.remove(at, twin.uid(), DeleteParams::background()).await?;
        }
        self.let_go(at, twin).await
    }

    /// Takes our finalizer off exactly this Secret.
    async fn let_go(&self, at: &Ref, secret: &DynamicObject) -> Result<(), Error> {
        let rest: Vec<&String> =
            secret.finalizers().iter().filter(|finalizer| *finalizer != names::KEEP_FINALIZER).collect();
        let body = json!({ "metadata": { "uid": secret.uid(), "finalizers": rest } });
        let patch = Patch::Merge(&body);
        match self.send(Verb::Patch, at, self.api(at).patch(&at.name, &PatchParams::default(), &patch)).await {
            Err(Error::Refused { code: 404, .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// The same Secret at another address, kept by the finalizer.
fn copy(secret: &DynamicObject, at: &Ref) -> Value {
    let part = |name: &str| secret.data.get(name).cloned().unwrap_or_default();
    json!({
        "apiVersion": at.kind.api_version(),
        "kind": at.kind.kind,
        "metadata": {
            "name": at.name,
            "namespace": at.namespace,
            "labels": secret.labels(),
            "annotations": secret.annotations(),
            "finalizers": [names::KEEP_FINALIZER],
        },
        "type": part("type"),
        "immutable": true,
        "data": part("data"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the API server does with each step.
    fn run(step: Step, original: &mut Option<State>, twin: &mut Option<State>) {
        let live = |state: &State| Some(State { deleted: false, kept: true, content: state.content.clone() });
        match step {
            Step::CopyToTwin => *twin = original.as_ref().and_then(live),
            Step::LetOriginalGo => *original = None,
            Step::CreateOriginal => *original = twin.as_ref().and_then(live),
            Step::RemoveTwin => *twin = None,
            _ => {}
        }
    }

    fn states(content: &str) -> Vec<Option<State>> {
        let mut all = vec![None];
        for deleted in [false, true] {
            all.push(Some(State { deleted, kept: true, content: Content(content.to_owned()) }));
        }
        all
    }

    #[test]
    fn from_every_state_with_one_content_it_converges_and_never_loses_the_content() {
        for start in states("a") {
            for start_twin in states("a") {
                let (mut original, mut twin) = (start.clone(), start_twin.clone());
                let existed = original.is_some() || twin.is_some();
                for _ in 0..STEPS {
                    let step = next(original.as_ref(), twin.as_ref());
                    run(step, &mut original, &mut twin);
                    assert_eq!(
                        original.is_some() || twin.is_some(),
                        existed,
                        "lost after {step:?} from {start:?} {start_twin:?}"
                    );
                }
                if existed {
                    assert_eq!(next(original.as_ref(), twin.as_ref()), Step::Done, "from {start:?} {start_twin:?}");
                    assert!(!original.unwrap().deleted);
                }
            }
        }
    }

    #[test]
    fn the_content_in_use_wins_over_an_old_copy_and_two_live_ones_are_a_contradiction() {
        let state = |deleted, content: &str| State { deleted, kept: true, content: Content(content.to_owned()) };
        assert_eq!(next(Some(&state(true, "new")), Some(&state(false, "old"))), Step::RemoveTwin);
        assert_eq!(next(Some(&state(false, "new")), Some(&state(false, "old"))), Step::Contradiction);
    }

    #[test]
    fn an_original_that_someone_else_still_holds_is_waited_for() {
        let held = State { deleted: true, kept: false, content: Content(String::new()) };
        let twin = State { deleted: false, kept: true, content: Content(String::new()) };
        assert_eq!(next(Some(&held), Some(&twin)), Step::Wait);
    }

    #[test]
    fn a_restoration_takes_five_different_steps() {
        let (mut original, mut twin) =
            (Some(State { deleted: true, kept: true, content: Content("a".to_owned()) }), None);
        let mut steps = Vec::new();
        while steps.last() != Some(&Step::Done) {
            let step = next(original.as_ref(), twin.as_ref());
            run(step, &mut original, &mut twin);
            steps.push(step);
        }
        assert_eq!(steps, [Step::CopyToTwin, Step::LetOriginalGo, Step::CreateOriginal, Step::RemoveTwin, Step::Done]);
        assert_eq!(steps.iter().map(|step| format!("{step:?}")).collect::<BTreeSet<_>>().len(), 5);
    }
}
