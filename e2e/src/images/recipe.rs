//! What each image consists of.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::root::Root;
use super::{ImageKind, debian, gnuhealth};
use crate::packages;
use crate::parts::{self, Part};
use crate::progress::Step;
use crate::shell::command;

const PAUSE: &str = include_str!("../../images/pause/pause.c");
const POSTGRES: &str = include_str!("../../images/postgres/packages.txt");

/// The C library, for programs that are not static.
const GLIBC: &str = "libc6\nlibgcc-s1\ngcc-12-base\n";

/// Nobody in particular; the number that distroless images use.
const NOBODY: &str = "65532:65532";

/// An image to be made.
#[derive(Debug)]
pub(super) struct Recipe {
    pub name: &'static str,
    pub user: &'static str,
    pub env: &'static [&'static str],
    pub entrypoint: &'static [&'static str],
    content: Content,
}

#[derive(Debug)]
enum Content {
    Pause,
    Shell,
    Postgres,
    GnuHealth,
    Programs { programs: Vec<Program>, libc: bool },
}

#[derive(Debug)]
struct Program {
    from: PathBuf,
    to: &'static str,
}

impl Recipe {
    pub fn of(kind: &ImageKind) -> Result<Self> {
        let plain = |name, user, content| Self { name, user, env: &["PATH=/usr/bin"], entrypoint: &[], content };
        Ok(match kind {
            ImageKind::Pause => Self { entrypoint: &["/pause"], ..plain("pause", NOBODY, Content::Pause) },
            ImageKind::Shell => plain("shell", "0:0", Content::Shell),
            ImageKind::Postgres => Self {
                env: &["PATH=/usr/lib/postgresql/15/bin:/usr/bin", "LANG=C.UTF-8"],
                ..plain("postgres", NOBODY, Content::Postgres)
            },
            ImageKind::GnuHealth => Self { env: gnuhealth::ENV, ..plain("gnuhealth", NOBODY, Content::GnuHealth) },
            ImageKind::CoreDns => Self {
                entrypoint: &["/usr/bin/coredns"],
                ..plain("coredns", NOBODY, part(Part::CoreDns, "/usr/bin/coredns")?)
            },
            ImageKind::EnvoyGateway => Self {
                entrypoint: &["/usr/bin/envoy-gateway"],
                ..plain("envoy-gateway", NOBODY, part(Part::EnvoyGateway, "/usr/bin/envoy-gateway")?)
            },
            ImageKind::LocalPathProvisioner => Self {
                entrypoint: &["/usr/bin/local-path-provisioner"],
                ..plain(
                    "local-path-provisioner",
                    "0:0",
                    part(Part::LocalPathProvisioner, "/usr/bin/local-path-provisioner")?,
                )
            },
            ImageKind::Envoy => {
                Self { entrypoint: &["/usr/bin/envoy"], ..plain("envoy", NOBODY, part(Part::Envoy, "/usr/bin/envoy")?) }
            }
            ImageKind::Operator { operator, agent } => Self {
                entrypoint: &["/usr/bin/his-operator"],
                ..plain(
                    "his-operator",
                    NOBODY,
                    programs(&[(operator, "/usr/bin/his-operator"), (agent, "/usr/bin/his-agent")])?,
                )
            },
        })
    }

    pub fn full_name(&self) -> String {
        format!("his.local/{}", self.name)
    }

    /// Every word that decides what the image is. Where a program comes from is not one of them; its content is.
    pub fn words(&self) -> String {
        let Self { name, user, env, entrypoint, content } = self;
        let content = match content {
            Content::Pause => PAUSE.to_owned(),
            Content::Shell => "busybox-static".to_owned(),
            Content::Postgres => POSTGRES.to_owned(),
            Content::GnuHealth => gnuhealth::words(),
            Content::Programs { programs, libc } => {
                let places: Vec<_> = programs.iter().map(|program| program.to).collect();
                format!("{places:?} stripped {}", if *libc { GLIBC } else { "" })
            }
        };
        format!("{name} {user} {env:?} {entrypoint:?} {content}")
    }

    /// Files whose content decides, too.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let programs = match &self.content {
            Content::Programs { programs, .. } => programs.as_slice(),
            _ => &[],
        };
        programs.iter().map(|program| program.from.as_path())
    }

    /// Makes the tree of the image in a directory that does not exist yet.
    pub fn fill(&self, dir: &Path, step: &Step) -> Result<()> {
        let root = Root::new(dir)?;
        match &self.content {
            Content::Pause => pause(&root),
            Content::Shell => shell(&root),
            Content::Postgres => postgres(&root, step),
            Content::GnuHealth => gnuhealth::fill(&root, step),
            Content::Programs { programs, libc } => {
                if *libc {
                    debian::unpack(&root, GLIBC, step)?;
                }
                for program in programs {
                    root.program(&program.from, program.to)?;
                    // A program of ours comes with twenty times its size in debug information, and his-agent is
                    // copied into pods.
                    command("strip").arg("--strip-all").arg(root.at(program.to)).output()?;
                    if *libc {
                        // Names the library that is missing now, where a pod would only fail to start.
                        root.run(&["/lib64/ld-linux-x86-64.so.2", "--list", program.to])?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn part(part: Part, to: &'static str) -> Result<Content> {
    programs(&[(&parts::ensure(part)?, to)])
}

fn programs(list: &[(&PathBuf, &'static str)]) -> Result<Content> {
    let mut libc = false;
    let mut programs = Vec::new();
    for (from, to) in list {
        libc |= is_dynamic(from)?;
        programs.push(Program { from: (*from).clone(), to });
    }
    Ok(Content::Programs { programs, libc })
}

/// Whether a program needs a C library beside it, which an image of nothing else would lack.
fn is_dynamic(program: &Path) -> Result<bool> {
    if !program.is_file() {
        bail!("there is no program {}: build it first", program.display());
    }
    packages::ensure(&["binutils"])?;
    let headers = command("readelf").args(["--program-headers", "--wide"]).arg(program).output()?;
    Ok(headers.lines().any(|line| line.trim_start().starts_with("INTERP")))
}

fn pause(root: &Root) -> Result<()> {
    packages::ensure(&["gcc", "libc6-dev"])?;
    command("gcc")
        .args(["-x", "c", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(root.at("/pause"))
        .arg("-")
        .stdin(PAUSE)
        .output()
        .map(drop)
}

fn shell(root: &Root) -> Result<()> {
    const BUSYBOX: &str = "/usr/bin/busybox";
    packages::ensure(&["busybox-static"])?;
    let installed = [Path::new("/usr/bin/busybox"), Path::new("/bin/busybox")];
    let busybox =
        installed.iter().find(|path| path.is_file()).context("busybox-static is installed without /usr/bin/busybox")?;
    root.program(busybox, BUSYBOX)?;
    for applet in root.run(&[BUSYBOX, "--list"])?.lines().filter(|applet| *applet != "busybox") {
        root.link(&format!("/usr/bin/{applet}"), "busybox")?;
    }
    root.link("/bin", "usr/bin")
}

fn postgres(root: &Root, step: &Step) -> Result<()> {
    debian::unpack(root, POSTGRES, step)?;
    // Bitcode is for the JIT compiler, which is left out.
    root.remove(&["/usr/lib/postgresql/15/lib/bitcode", "/usr/share/postgresql/15/man"])?;
    for program in ["postgres", "initdb", "pg_ctl", "psql", "pg_dump", "pg_restore", "pg_isready"] {
        root.run(&[&format!("/usr/lib/postgresql/15/bin/{program}"), "--version"])?;
    }
    Ok(())
}
