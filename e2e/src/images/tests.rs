use super::*;

#[test]
fn image_is_named_by_tag_and_by_digest() {
    let image = Image {
        name: "his.local/shell".to_owned(),
        tag: "1".to_owned(),
        tar: PathBuf::new(),
        digest: "sha256:00".to_owned(),
    };
    assert_eq!(image.by_tag(), "his.local/shell:1");
    assert_eq!(image.by_digest(), "his.local/shell@sha256:00");
}

#[test]
fn other_image_whose_name_starts_the_same_is_not_an_older_version() {
    let home = tempfile::tempdir().unwrap();
    for name in ["envoy-1", "envoy-2", "envoy-3", "envoy-gateway-1", ".envoy.lock"] {
        fs::create_dir(home.path().join(name)).unwrap();
    }
    forget_older(home.path(), "envoy", &home.path().join("envoy-3")).unwrap();
    let left = |name: &str| home.path().join(name).exists();
    assert!(left("envoy-3") && left("envoy-gateway-1") && left(".envoy.lock"));
    assert_eq!([left("envoy-1"), left("envoy-2")].iter().filter(|there| **there).count(), 1);
}

#[test]
fn archive_names_the_image_by_tag_and_by_digest() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("root")).unwrap();
    archive::write(&Recipe::of(&ImageKind::Pause).unwrap(), "7", scratch.path()).unwrap();
    let digest = fs::read_to_string(scratch.path().join(archive::DIGEST)).unwrap();
    let index = crate::shell::command("tar")
        .arg("-xOf")
        .arg(scratch.path().join(archive::TAR))
        .arg("./index.json")
        .output()
        .unwrap();
    assert!(index.contains(r#""his.local/pause:7""#), "{index}");
    assert!(index.contains(&format!(r#""his.local/pause@{digest}""#)), "{index}");
}

#[test]
fn program_that_was_not_built_is_named() {
    let missing = PathBuf::from("/no/such/his-operator");
    let error = ensure(&ImageKind::Operator { operator: missing.clone(), agent: missing }).unwrap_err().to_string();
    assert!(error.contains("/no/such/his-operator: build it first"), "{error}");
}

#[test]
fn equal_trees_made_at_different_times_have_equal_digests() {
    let digest = |age: i64| {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir(&root).unwrap();
        let file = File::create(root.join("a")).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age.unsigned_abs());
        file.set_modified(time).unwrap();
        archive::write(&Recipe::of(&ImageKind::Pause).unwrap(), "1", scratch.path()).unwrap();
        fs::read_to_string(scratch.path().join(archive::DIGEST)).unwrap()
    };
    assert_eq!(digest(1), digest(1_000_000));
}

#[test]
fn tag_changes_with_the_program_and_not_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let program = |name: &str, bytes: &[u8]| {
        // A script has no ELF header to ask; a real program is copied and extended instead.
        let path = dir.path().join(name);
        let mut content = fs::read("/bin/true").unwrap();
        content.extend_from_slice(bytes);
        fs::write(&path, content).unwrap();
        path
    };
    let tag = |operator, agent| key(&Recipe::of(&ImageKind::Operator { operator, agent }).unwrap()).unwrap();
    let first = tag(program("a", b"1"), program("b", b"2"));
    assert_eq!(first, tag(program("c", b"1"), program("d", b"2")));
    assert_ne!(first, tag(program("a", b"3"), program("b", b"2")));
}
