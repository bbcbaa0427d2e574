//! A program of the application with all texts rendered: the common part of components and steps.

use std::collections::BTreeSet;

use crate::{
    api::v1alpha1::{Component, EnvVar, Exception, File, Port, Probes, Resources, SecurityRule, Step, WritablePath},
    capabilities::{
        amounts,
        pod::{PRE_STOP_SECONDS, PreStop},
    },
    conditions::{Reason, Rejection},
    tenant::{
        Tenant,
        database::Login,
        excepted,
        template::{DATABASE, Text, Variables, mentions},
    },
};

/// What runs in a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Component label, container and ServiceAccount.
    pub name: String,
    /// Image by digest.
    pub image: String,
    /// Command; empty means the image's.
    pub command: Vec<String>,
    /// Arguments, without secrets.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, Text)>,
    /// Files.
    pub files: Vec<(String, Text)>,
    /// Directories that it writes.
    pub writable_paths: Vec<WritablePath>,
    /// Compute resources.
    pub resources: Resources,
    /// Root file system is writable.
    pub writable_root: bool,
    /// Ports.
    pub ports: Vec<Port>,
    /// Probes.
    pub probes: Probes,
    /// What happens before it is asked to end.
    pub pre_stop: PreStop,
    /// Secret with the CA of the database; absent where no text names the database.
    pub database_ca: Option<String>,
    /// Its last lines are told when it fails.
    pub tell_last_lines: bool,
}

impl Program {
    /// Goes on serving for so many seconds after it was told to end, if it serves.
    pub fn lingering(mut self, seconds: Option<i64>) -> Self {
        if let (PreStop::Wait(wait), Some(seconds)) = (&mut self.pre_stop, seconds) {
            *wait = seconds;
        }
        self
    }
}

struct Source<'a> {
    field: String,
    name: &'a str,
    image: &'a str,
    command: &'a [String],
    args: &'a [String],
    env: &'a [EnvVar],
    files: &'a [File],
    exceptions: &'a [Exception],
    login: Login,
}

impl<'a> Source<'a> {
    fn component(component: &'a Component) -> Self {
        let owner = excepted(&component.exceptions, SecurityRule::SchemaChangesAtRuntime);
        Self {
            field: format!("HospitalApplication spec.components[{}]", component.name),
            name: &component.name,
            image: &component.image,
            command: &component.command,
            args: &component.args,
            env: &component.env,
            files: &component.files,
            exceptions: &component.exceptions,
            login: if owner { Login::Owner } else { Login::App },
        }
    }

    fn step(name: &'a str, step: &'a Step) -> Self {
        Self {
            field: format!("HospitalApplication spec.lifecycle.{name}"),
            name,
            image: &step.image,
            command: &step.command,
            args: &step.args,
            env: &step.env,
            files: &step.files,
            exceptions: &step.exceptions,
            login: Login::Owner,
        }
    }

    /// Own variables after the shared ones that they do not replace.
    fn all_env(&self, tenant: &'a Tenant) -> impl Iterator<Item = &'a EnvVar> {
        let own = self.env;
        tenant.application.env.iter().filter(|shared| !own.iter().any(|own| own.name == shared.name)).chain(own)
    }

    /// Own files after the shared ones that they do not replace.
    fn all_files(&self, tenant: &'a Tenant) -> impl Iterator<Item = &'a File> {
        let own = self.files;
        tenant.application.files.iter().filter(|shared| !own.iter().any(|own| own.path == shared.path)).chain(own)
    }

    /// Whether any text names a variable of this group, such as `database` or `buckets.pictures`.
    fn uses(&self, tenant: &'a Tenant, group: &str) -> bool {
        let words = self.command.iter().chain(self.args);
        let env = self.all_env(tenant).map(|var| &var.value);
        let files = self.all_files(tenant).map(|file| &file.template);
        words.chain(env).chain(files).any(|text| mentions(text, group))
    }
}

/// Whether a component uses a dependency, by the variables that it names.
pub fn component_uses(tenant: &Tenant, component: &Component, group: &str) -> bool {
    Source::component(component).uses(tenant, group)
}

/// Whether a step uses a dependency, by the variables that it names.
pub fn step_uses(tenant: &Tenant, step: &Step, group: &str) -> bool {
    Source::step("", step).uses(tenant, group)
}

/// Whom users and others are led to waits until they are not; the rest finishes its work in its own way.
fn pre_stop(component: &Component) -> PreStop {
    match &component.drain {
        _ if !component.ports.is_empty() => PreStop::Wait(PRE_STOP_SECONDS),
        Some(drain) => PreStop::Run(drain.command.clone()),
        None => PreStop::Nothing,
    }
}

/// The program of a component.
pub fn of_component(tenant: &Tenant, component: &Component) -> Result<Program, Rejection> {
    let source = Source::component(component);
    let program = program(tenant, &source)?;
    let resources = tenant.resources(component);
    let own = tenant.spec.components.iter().any(|size| size.name == component.name && size.resources.is_some());
    let sized = if own { format!("spec.components[{}]", component.name) } else { source.field };
    amounts::check(&format!("{sized}.resources"), &resources)?;
    paths_are_distinct(
        &format!("HospitalApplication spec.components[{}]", component.name),
        &program,
        &component.writable_paths,
    )?;
    Ok(Program {
        writable_paths: component.writable_paths.clone(),
        resources,
        ports: component.ports.clone(),
        probes: component.probes.clone().unwrap_or_default(),
        pre_stop: pre_stop(component),
        ..program
    })
}

/// The program of a lifecycle step.
pub fn of_step(tenant: &Tenant, name: &str, step: &Step) -> Result<Program, Rejection> {
    let source = Source::step(name, step);
    let program = program(tenant, &source)?;
    let resources = tenant.step_resources(step);
    amounts::check(&format!("{}.resources", source.field), &resources)?;
    paths_are_distinct(&source.field, &program, &step.writable_paths)?;
    let tell_last_lines = step.tell_last_lines.unwrap_or_default();
    Ok(Program { writable_paths: step.writable_paths.clone(), resources, tell_last_lines, ..program })
}

/// One path is one mount: a file, or a directory that is written.
fn paths_are_distinct(field: &str, program: &Program, writable: &[WritablePath]) -> Result<(), Rejection> {
    let files = program.files.iter().map(|(path, _)| ("files", path));
    let mut seen = BTreeSet::new();
    for (list, path) in files.chain(writable.iter().map(|writable| ("writablePaths", &writable.path))) {
        if !seen.insert(path.trim_end_matches('/')) {
            return Err(Rejection::terminal(
                format!("{field}.{list}[{path}]"),
                Reason::ReferenceInvalid,
                "another file or directory has the same path; choose another for one of them",
            ));
        }
    }
    Ok(())
}

fn program(tenant: &Tenant, source: &Source<'_>) -> Result<Program, Rejection> {
    let variables = Variables::new(tenant, source.login);
    let field = &source.field;
    Ok(Program {
        name: source.name.to_owned(),
        image: tenant.image(&format!("{field}.image"), source.image)?,
        command: words(&variables, &format!("{field}.command"), source.command)?,
        args: words(&variables, &format!("{field}.args"), source.args)?,
        env: env(tenant, &variables, source)?,
        files: files(tenant, &variables, source)?,
        writable_paths: Vec::new(),
        resources: Resources::default(),
        writable_root: excepted(source.exceptions, SecurityRule::WritableRoot),
        ports: Vec::new(),
        probes: Probes::default(),
        pre_stop: PreStop::Nothing,
        tell_last_lines: false,
        database_ca: tenant
            .database
            .as_ref()
            .filter(|_| source.uses(tenant, DATABASE))
            .map(crate::tenant::Database::ca_secret),
    })
}

/// Words of a command line: anybody on the node can read them, so they may not contain secrets.
fn words(variables: &Variables, field: &str, words: &[String]) -> Result<Vec<String>, Rejection> {
    let word = |(index, word): (usize, &String)| {
        let field = format!("{field}[{index}]");
        let text = variables.render(&field, word)?;
        if text.is_secret() {
            let message = "a command line can be read by others, so it may not contain a secret; use a file";
            return Err(Rejection::terminal(field, Reason::ExceptionMissing, message));
        }
        Ok(text.fill(escape_expansion, |_, _| String::new()))
    };
    words.iter().enumerate().map(word).collect()
}

fn env(tenant: &Tenant, variables: &Variables, source: &Source<'_>) -> Result<Vec<(String, Text)>, Rejection> {
    let allowed = excepted(source.exceptions, SecurityRule::SecretInEnv);
    let variable = |var: &EnvVar| {
        let field = format!("{}.env[{}]", source.field, var.name);
        let text = variables.render(&field, &var.value)?;
        if text.is_secret() && !allowed {
            let message = "the value contains a secret; use a file, or add the exception secretInEnv with its reason";
            return Err(Rejection::terminal(field, Reason::ExceptionMissing, message));
        }
        Ok((var.name.clone(), text))
    };
    source.all_env(tenant).map(variable).collect()
}

fn files(tenant: &Tenant, variables: &Variables, source: &Source<'_>) -> Result<Vec<(String, Text)>, Rejection> {
    let file = |file: &File| {
        let field = format!("{}.files[{}]", source.field, file.path);
        Ok((file.path.clone(), variables.render(&field, &file.template)?))
    };
    source.all_files(tenant).map(file).collect()
}

/// Kubernetes expands `$(NAME)` in commands, arguments and environment; a doubled dollar stands for one.
pub fn escape_expansion(text: &str) -> String {
    text.replace('$', "$$")
}
