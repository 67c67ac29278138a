//! Settings from the outside: precedence, every kind of mistake, exit codes, and that no secret is
//! ever printed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use loquat::config::{
    Flag, Fsync, Origin, Reload, Settings, Sources, load, markdown, resolve, table,
};
use loquat::limits::Rate;
use loquat::model::Access;

const SECRET: &str = "correct-horse-battery-staple-0123456789";

/// A directory with a settings file and secrets in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn sources(
    place: &Place,
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Sources {
    let known = |key: &str| table::by_key(key).unwrap_or_else(|| panic!("no setting {key}")).key;
    Sources {
        file: (!file.is_empty()).then(|| place.write("loquat.toml", file)),
        environment: environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        flags: flags
            .iter()
            .map(|(key, value)| Flag { key: known(key), values: vec![(*value).to_owned()] })
            .collect(),
    }
}

/// Mistakes as text, with the directory's own name taken out.
fn mistakes(place: &Place, sources: &Sources) -> Vec<String> {
    let directory = format!("{}/", place.path().display());
    let found = load(sources).err().unwrap_or_default();
    found.iter().map(|mistake| mistake.to_string().replace(&directory, "")).collect()
}

#[test]
fn later_sources_win() {
    let place = Place::new();
    let check =
        |file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)], expected: u64| {
            let settings = load(&sources(&place, file, environment, flags)).unwrap();
            assert_eq!(settings.max_session_s, expected);
        };
    let (file, variable, flag) =
        ("max_session_s = 1", ("LOQUAT_MAX_SESSION_S", "2"), ("max_session_s", "3"));
    check("", &[], &[], 86_400);
    check(file, &[], &[], 1);
    check(file, &[variable], &[], 2);
    check(file, &[variable], &[flag], 3);
    check(file, &[], &[flag], 3);
    check("", &[variable], &[], 2);
}

#[test]
fn values_are_typed_in_all_three_forms() {
    let place = Place::new();
    let check = |key: &str, toml: &str, text: &str, expected: fn(&Settings) -> bool| {
        let entry = table::by_key(key).unwrap();
        let variable = entry.variable();
        let file = format!("{key} = {toml}");
        for sources in [
            sources(&place, &file, &[], &[]),
            sources(&place, "", &[(&variable, text)], &[]),
            sources(&place, "", &[], &[(key, text)]),
        ] {
            let settings = load(&sources).unwrap_or_else(|found| panic!("{found:?}"));
            assert!(expected(&settings), "{key} from {sources:?}");
        }
    };
    check("fsync", "\"never\"", "never", |s| s.fsync == Fsync::Never);
    check("access", "\"claim\"", "claim", |s| s.access == Access::Claim);
    check("shards", "0x4", "4", |s| s.shards == 4);
    check("disk_reserve", "\"1GiB\"", "1 gib", |s| s.disk_reserve_bytes == 1 << 30);
    check("sled_cache", "16_777_216", "16777216", |s| s.sled_cache_bytes == 16 << 20);
    check("rate_limits", "false", "off", |s| !s.rate_limits.is_on());
    check("limits.frames", "\"5/20\"", "5/20", |s| {
        s.limits.frames == Rate { per_second: 5, burst: 20 }
    });
    check("listen", "\"localhost:0\"", "127.0.0.1:0", |s| s.listen.to_string() == "127.0.0.1:0");
    check("admin.listen", "\"off\"", "off", |s| s.admin.listen.is_none());
    check("trusted_proxies", "[]", "", |s| s.trusted_proxies.is_empty());
    check("allowed_origins", "[\"https://A.example\", \"*\"]", "https://a.example:443,*", |s| {
        s.allowed_origins == ["https://a.example", "*"]
    });
}

#[test]
fn every_kind_of_mistake_says_where_and_what_is_allowed() {
    let place = Place::new();
    let in_file = |file: &str, expected: &str| {
        assert_eq!(mistakes(&place, &sources(&place, file, &[], &[])), [expected], "{file}");
    };
    in_file(
        "\n\nshards = 300",
        r#"loquat.toml line 3: shards = "300": is out of range; allowed: 1 to 256"#,
    );
    in_file(
        "shards = -1",
        r#"loquat.toml line 1: shards = "-1": is not a whole number; allowed: 1 to 256"#,
    );
    in_file("shards = 1.5", "loquat.toml line 1: shards: is not a whole number; allowed: 1 to 256");
    in_file(
        "[shards]\nx = 1",
        "loquat.toml line 1: shards: is not a whole number; allowed: 1 to 256",
    );
    in_file(
        "lisen = 1",
        "loquat.toml line 1: lisen: is no setting of loquat; did you mean listen?",
    );
    in_file(
        "[limit]\nframes = '1/2'",
        "loquat.toml line 2: limit.frames: is no setting of loquat; did you mean limits.frames?",
    );
    in_file(
        "[jwt]\nshards = 2",
        "loquat.toml line 2: jwt.shards: is no setting of loquat; did you mean shards?",
    );
    in_file("colour = 'red'", "loquat.toml line 1: colour: is no setting of loquat");
    in_file(
        "jwt = 1",
        "loquat.toml line 1: jwt: is a group of settings: write [jwt] and its settings below",
    );
    in_file(
        "journal_segment = '1MiB'",
        r#"loquat.toml line 1: journal_segment = "1MiB": is out of range; allowed: 4MiB to 1GiB, as bytes or with KiB, MiB, GiB"#,
    );
    in_file(
        "limits.frames = '0/5'",
        r#"loquat.toml line 1: limits.frames = "0/5": is not a rate; allowed: per_second/burst such as 5/20, each 1 to 10000000"#,
    );
    in_file(
        "listen = 'example.org:80'",
        r#"loquat.toml line 1: listen = "example.org:80": is not an IP address and port (names are not looked up); allowed: an IP address and port such as 127.0.0.1:8000 or [::]:8000"#,
    );
    in_file(
        "limits.frame_bytes = 70_000",
        "loquat.toml line 1: limits.frame_bytes: does not fit: limits.frame_bytes is 70000 (loquat.toml line 1), \
         limits.message_bytes is 64KiB (default); allowed: limits.frame_bytes is 1 to limits.message_bytes",
    );
    in_file(
        "admin.listen = '0.0.0.0:9000'",
        r#"loquat.toml line 1: admin.listen = "0.0.0.0:9000": wants an admin side, and there is no admin.token_file; allowed: off, or an address and an admin.token_file"#,
    );
    in_file(
        "jwt.secret = 'x'\njwt.secret_file = '/dev/null'",
        "loquat.toml line 1: jwt.secret: jwt.secret_file is given as well (loquat.toml line 2); allowed: one of the two",
    );
}

#[test]
fn mistakes_of_the_environment_and_of_flags_are_named_too() {
    let place = Place::new();
    let variable = |name: &str, value: &str, expected: &str| {
        let sources = sources(&place, "", &[(name, value)], &[]);
        assert_eq!(mistakes(&place, &sources), [expected], "{name}");
    };
    variable(
        "LOQUAT_SHARDS",
        "many",
        r#"environment LOQUAT_SHARDS: shards = "many": is not a whole number; allowed: 1 to 256"#,
    );
    variable(
        "LOQUAT_LISTE",
        "x",
        "environment LOQUAT_LISTE: is no variable of loquat; did you mean LOQUAT_LISTEN?",
    );
    variable(
        "LOQUAT_TRUSTED_PROXIES",
        "10.0.0.0/8,proxy",
        r#"environment LOQUAT_TRUSTED_PROXIES: trusted_proxies = "10.0.0.0/8,proxy": item 2 is not a network; allowed: networks such as 10.0.0.0/8 or single addresses, separated by commas"#,
    );
    let flags = sources(&place, "", &[], &[("fsync", "maybe")]);
    let expected =
        r#"--fsync: fsync = "maybe": is not one of the words; allowed: commit, interval, never"#;
    assert_eq!(mistakes(&place, &flags), [expected]);
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_their_places() {
    let place = Place::new();
    let file = "shards = 0\nnonsense = 1\nbroken = \n[limits]\njson_depth = 99\n";
    let sources = sources(&place, file, &[("LOQUAT_FSYNC", "x")], &[("access", "y")]);
    let starts: Vec<String> = mistakes(&place, &sources)
        .iter()
        .map(|text| text.split(": ").next().unwrap_or_default().to_owned())
        .collect();
    let expected = [
        "loquat.toml line 1",
        "loquat.toml line 2",
        "loquat.toml line 3",
        "loquat.toml line 5",
        "environment LOQUAT_FSYNC",
        "--access",
    ];
    assert_eq!(starts, expected);
}

#[test]
fn secrets_come_from_files_tables_and_lists() {
    let place = Place::new();
    let (one, two) = (place.write("one", "first secret\n"), place.write("two", "second\r\n"));
    let file = format!(
        "[[jwt.keys]]\nkid = 'a'\nsecret = 'inline'\n[[jwt.keys]]\nkid = 'b'\nsecret_file = '{}'\nnot_after = 2030-01-01\n",
        two.display()
    );
    let one = one.display().to_string();
    let settings = load(&sources(&place, &file, &[], &[("jwt.secret_file", &one)])).unwrap();
    let keys: Vec<_> = settings
        .jwt
        .keys
        .iter()
        .map(|key| (key.kid.as_deref(), key.secret.expose(), key.not_after_s))
        .collect();
    let expected = [
        (None, "first secret", None),
        (Some("a"), "inline", None),
        (Some("b"), "second", Some(1_893_456_000)),
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_stronger_source_replaces_the_other_form_of_the_secret() {
    let place = Place::new();
    let path = place.write("one", "from a file").display().to_string();
    let file = format!("jwt.secret_file = '{path}'");
    let settings = load(&sources(&place, &file, &[("LOQUAT_JWT_SECRET", SECRET)], &[])).unwrap();
    assert_eq!(settings.jwt.keys[0].secret.expose(), SECRET);
    let flags = [("jwt.secret_file", path.as_str())];
    let settings = load(&sources(&place, "", &[("LOQUAT_JWT_SECRET", SECRET)], &flags)).unwrap();
    assert_eq!(settings.jwt.keys[0].secret.expose(), "from a file");
}

#[test]
fn secret_files_that_others_can_read_are_warned_about() {
    let place = Place::new();
    let path = place.write("one", SECRET);
    let text = path.display().to_string();
    let warned = |sources: &Sources| resolve(sources).warnings.len();
    let by_file = sources(&place, "", &[], &[("jwt.secret_file", &text)]);
    assert_eq!(warned(&by_file), 0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(warned(&by_file), 1);
    let in_settings = sources(&place, &format!("jwt.secret = '{SECRET}'"), &[], &[]);
    assert_eq!(warned(&in_settings), 0);
    let settings_file = place.path().join("loquat.toml");
    fs::set_permissions(settings_file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(warned(&in_settings), 1);
}

#[test]
fn a_changed_secret_file_is_seen_by_the_next_reading() {
    let place = Place::new();
    let text = place.write("one", SECRET).display().to_string();
    let sources = sources(&place, "", &[], &[("jwt.secret_file", &text)]);
    let before = load(&sources).unwrap();
    place.write("one", "another secret, long enough to be taken");
    let after = load(&sources).unwrap();
    assert_eq!(Reload::between(&before, &after).applied, ["jwt.keys"]);
    assert_ne!(before.reloadable(), after.reloadable());
}

#[test]
fn settings_and_sources_print_no_secret_when_debugged() {
    let place = Place::new();
    let sources = sources(&place, "", &[("LOQUAT_JWT_SECRET", SECRET)], &[]);
    let shown = format!("{sources:?} {:?} {:?}", load(&sources).unwrap(), resolve(&sources));
    assert!(!shown.contains(SECRET), "{shown}");
    assert_eq!(
        resolve(&sources).origin("jwt.secret"),
        Origin::Variable("LOQUAT_JWT_SECRET".into())
    );
}

// From here on the program itself.

fn loquat(place: &Place, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loquat"));
    command.env_clear().envs(environment.iter().copied()).current_dir(place.path());
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn exit_codes_tell_wrong_settings_from_failure() {
    let place = Place::new();
    place.write("secret", SECRET);
    place.write("weak", "changeme");
    place.write("django", "django-insecure-abcdefghijklmnopqrstuvwxyz0123456789");
    place.write("file", "");
    let check = |arguments: &[&str], expected: i32, says: &str| {
        let output = loquat(&place, &[], arguments);
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
    };
    check(&["--version"], 0, "");
    check(&["help", "serve"], 0, "");
    check(&[], 2, "Usage");
    check(&["frob"], 2, "frob");
    check(&["check-config", "--jwt-secret-file", "secret"], 0, "");
    check(&["check-config"], 2, "there is no secret");
    check(&["serve"], 2, "head -c 48 /dev/urandom");
    check(&["serve", "--jwt-secret-file", "weak"], 2, "the secret");
    check(&["check-config", "--jwt-secret-file", "django"], 2, "the secret");
    check(&["check-config", "--jwt-secret-file", "missing"], 2, "cannot be read");
    check(&["check-config", "--jwt-keys", "a=weak"], 2, "key a: the secret");
    check(&["check-config", "--config", "nowhere.toml"], 2, "nowhere.toml cannot be read");
    check(&["check-config", "--jwt-secret-file", "secret", "--shards", "0"], 2, "--shards");
    check(
        &["serve", "--jwt-secret-file", "secret", "--data", "file", "--listen", "127.0.0.1:0"],
        1,
        "not a directory",
    );
    check(&["token", "--jwt-secret-file", "secret", "--user", "1"], 0, "");
    check(&["token", "--jwt-secret-file", "secret", "--user", "system"], 2, "no token is good");
    check(&["token", "--jwt-secret-file", "secret"], 2, "--user");
    check(&["token", "--jwt-secret-file", "secret", "--user", "ä"], 2, "--user");
    check(&["token", "--jwt-secret-file", "secret", "--user", "1", "--role", "king"], 2, "--role");
    check(&["token", "--jwt-secret-file", "secret", "--user", "1", "--ttl", "0"], 2, "--ttl");
    check(&["token", "--jwt-secret-file", "secret", "--user", "1", "--kid", "x"], 2, "kid");
    check(&["token", "--user", "1"], 2, "there is no secret");
    let long = "x".repeat(4000);
    check(
        &["token", "--jwt-secret-file", "secret", "--user", "1", "--email", &long],
        1,
        "at most 256",
    );
}

#[test]
fn no_command_prints_a_secret() {
    let place = Place::new();
    let mine = "hunter2-is-a-secret-of-more-than-32-bytes";
    place.write("secret", mine);
    place.write("inline.toml", &format!("jwt.secret = '{mine}'"));
    place.write("misspelt.toml", &format!("jwt.secert = '{mine}'\nsecret = ['{mine}']"));
    place.write("broken.toml", &format!("jwt.secret = '{mine}"));
    place.write("unquoted.toml", &format!("jwt.secret = {mine}"));
    place.write("doubled.toml", &format!("jwt.secret = '{mine}'\njwt.secret = '{mine}'"));
    place.write("typed.toml", &format!("jwt.secret = ['{mine}']\n[[jwt.keys]]\nsecrt = '{mine}'"));
    place.write("table.toml", &format!("[[jwt.keys]]\nkid = 'a'\nsecret = '{mine}'"));
    let check = |environment: &[(&str, &str)], arguments: &[&str]| {
        let output = loquat(&place, environment, arguments);
        let all = stdout(&output) + &stderr(&output);
        assert!(!all.contains("hunter2"), "{arguments:?}: {all}");
    };
    for file in ["inline", "misspelt", "broken", "unquoted", "doubled", "typed", "table"] {
        check(&[], &["check-config", "--config", &format!("{file}.toml")]);
        check(&[], &["serve", "--shards", "0", "--config", &format!("{file}.toml")]);
        check(&[], &["token", "--user", "1", "--config", &format!("{file}.toml")]);
    }
    check(&[], &["check-config", "--jwt-secret-file", "secret"]);
    check(&[], &["check-config", "--jwt-secret", mine]);
    check(&[], &["check-config", "--jwt-secert", mine]);
    check(&[], &["check-config", &format!("--jwt-secert={mine}")]);
    check(&[], &["check-config", "--jwt-secret", mine, "--jwt-secret", mine]);
    check(&[("LOQUAT_JWT_SECRET", mine)], &["check-config"]);
    check(&[("LOQUAT_JWT_SECRT", mine)], &["check-config"]);
    check(&[("LOQUAT_JWT_KEYS", mine)], &["check-config"]);
    check(&[("LOQUAT_CONFIG", "inline.toml")], &["check-config"]);
}

#[test]
fn a_secret_as_a_flag_is_refused_with_the_reason() {
    let place = Place::new();
    let output = loquat(&place, &[], &["serve", "--jwt-secret", SECRET]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("everyone on the machine can read command lines"));
    assert!(stderr(&output).contains("1 mistake in"), "{}", stderr(&output));
}

#[test]
fn check_config_prints_a_file_that_says_the_same() {
    let place = Place::new();
    let secret = place.write("secret", SECRET).display().to_string();
    let key = format!("k={secret};1893456000");
    let flags = [
        "--jwt-secret-file",
        &secret,
        "--jwt-keys",
        &key,
        "--allowed-origins",
        "https://a.example",
        "--log-level",
        "off",
    ];
    let output = loquat(
        &place,
        &[("LOQUAT_DISK_RESERVE", "384MiB")],
        &[&["check-config"], &flags[..]].concat(),
    );
    let listing = stdout(&output);
    assert!(
        listing.contains("disk_reserve = \"384MiB\"  # environment LOQUAT_DISK_RESERVE"),
        "{listing}"
    );
    assert!(listing.contains("fsync = \"commit\"  # default"), "{listing}");
    let again =
        load(&sources(&place, &listing, &[], &[])).unwrap_or_else(|found| panic!("{found:?}"));
    let first = load(&sources(
        &place,
        "",
        &[("LOQUAT_DISK_RESERVE", "384MiB")],
        &[
            ("jwt.secret_file", &secret),
            ("jwt.keys", &key),
            ("allowed_origins", "https://a.example"),
            ("log.level", "off"),
        ],
    ));
    assert_eq!(again, first.unwrap());
}

#[test]
fn tokens_are_what_other_libraries_understand() {
    #[derive(serde::Deserialize)]
    struct Claims {
        user_id: u64,
        token_type: String,
        first_name: Option<String>,
        email: Option<String>,
        conversations: serde_json::Value,
        role: String,
        exp: u64,
        iat: u64,
        jti: String,
    }
    let place = Place::new();
    place.write("secret", SECRET);
    let arguments = "token --user 7 --first-name Ann --role moderator --conversations 1,general --ttl 60 --jwt-algorithm HS384 --jwt-secret-file secret";
    let output = loquat(&place, &[], &arguments.split(' ').collect::<Vec<_>>());
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS384);
    rules.set_required_spec_claims(&["exp"]);
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let claims =
        jsonwebtoken::decode::<Claims>(stdout(&output).trim(), &key, &rules).unwrap().claims;
    assert_eq!((claims.user_id, claims.token_type.as_str()), (7, "access"));
    assert_eq!((claims.first_name.as_deref(), claims.email), (Some("Ann"), None));
    assert_eq!((claims.role.as_str(), claims.exp - claims.iat), ("moderator", 60));
    assert_eq!(claims.conversations, serde_json::json!([1, "general"]));
    assert!(!claims.jti.is_empty());
}

/// The settings page between its two marks is what the table says.
#[test]
fn the_settings_page_is_up_to_date() {
    const BEGIN: &str = "<!-- settings: made from the table by tests/settings.rs -->\n";
    const END: &str = "<!-- end of settings -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    let fresh = format!("{before}{BEGIN}\n{}{END}{after}", markdown());
    if std::env::var_os("LOQUAT_BLESS").is_some() {
        fs::write(&path, fresh).unwrap();
        return;
    }
    assert!(page == fresh, "docs/operating.md is stale: run this test with LOQUAT_BLESS=1");
}
