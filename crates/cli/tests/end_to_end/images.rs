//! Versions that are images: made by hand around a real shell, released from folders, tars and a real registry, run in roots of their
//! own by a real server.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::Repository;
use super::support::{eventually, processes};

/// A shell with everything around it, which needs no library.
const BUSYBOX: &str = "/bin/busybox";
const PROGRAMS: [&str; 12] =
    ["sh", "cat", "echo", "httpd", "id", "ls", "mkdir", "mount", "sleep", "touch", "true", "env"];
const ROUTE: &str = "[[route]]\npath = \"/store\"\n";

/// An image in the making: files of its only layer, and its configuration.
pub(super) struct Image {
    files: BTreeMap<String, (String, u32)>,
    links: BTreeMap<String, String>,
    config: Value,
}

impl Image {
    /// One that serves a text at `/store`.
    pub(super) fn serving(text: &str) -> Self {
        let image = Self {
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            config: json!({
                "Entrypoint": ["sh", "-c"],
                "Cmd": ["exec httpd -f -p ${HOST:?}:${PORT:?} -h /srv"],
                "Env": ["GREETING=hello ${self.port}", "PATH=/bin"],
                "WorkingDir": "/srv",
            }),
        };
        image.with("srv/store", text, 0o644).with(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/srv:/bin/sh\n",
            0o644,
        )
    }

    fn with(mut self, path: &str, text: &str, mode: u32) -> Self {
        self.files.insert(path.to_owned(), (text.to_owned(), mode));
        self
    }

    /// Puts a link in the place of whatever is there.
    fn linked(mut self, path: &str, target: &str) -> Self {
        self.files.retain(|file, _| !file.starts_with(path));
        self.links.insert(path.to_owned(), target.to_owned());
        self
    }

    pub(super) fn configured(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// Writes the layer as a tar, by the real `tar`.
    fn layer(&self, scratch: &Path) -> Vec<u8> {
        let root = scratch.join("root");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("tmp")).unwrap();
        fs::copy(BUSYBOX, root.join("bin/busybox")).expect("apt-get install busybox-static");
        for program in PROGRAMS {
            // As images have it: from their root on.
            std::os::unix::fs::symlink("/bin/busybox", root.join("bin").join(program)).unwrap();
        }
        for (path, (text, mode)) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(*mode)).unwrap();
        }
        for (path, target) in &self.links {
            std::os::unix::fs::symlink(target, root.join(path)).unwrap();
        }
        let tar = Command::new("tar")
            .args(["-c", "--sort=name", "--mtime=@7", "--owner=0", "--group=0"])
            .args(["-C", root.to_str().unwrap(), "."])
            .output()
            .unwrap();
        assert!(tar.status.success());
        tar.stdout
    }

    fn config_file(&self, layer: &[u8]) -> Vec<u8> {
        serde_json::to_vec(&json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": [digest(layer)] },
        }))
        .unwrap()
    }

    /// Writes an OCI layout.
    fn layout(&self, place: &Place, name: &str) -> String {
        let folder = PathBuf::from(place.path(name));
        let layer = self.layer(Path::new(&place.path("scratch-of-images")));
        let config = self.config_file(&layer);
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        }))
        .unwrap();
        for blob in [&layer, &config, &manifest] {
            put(&folder, blob);
        }
        let index = json!({
            "schemaVersion": 2,
            "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)],
        });
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        folder.to_str().unwrap().to_owned()
    }

    /// Writes what `docker save` writes.
    pub(super) fn saved(&self, place: &Place, name: &str) -> String {
        let folder = PathBuf::from(place.path(&format!("{name}.d")));
        let layer = self.layer(Path::new(&place.path("scratch-of-images")));
        let config = self.config_file(&layer);
        let config_name = format!("{}.json", &digest(&config)["sha256:".len()..]);
        fs::create_dir_all(folder.join("one")).unwrap();
        fs::write(folder.join("one/layer.tar"), &layer).unwrap();
        fs::write(folder.join(&config_name), &config).unwrap();
        let list = json!([{ "Config": config_name, "RepoTags": ["store:1"], "Layers": ["one/layer.tar"] }]);
        fs::write(folder.join("manifest.json"), list.to_string()).unwrap();
        let file = place.path(name);
        let made =
            Command::new("tar").args(["-czf", &file, "-C", folder.to_str().unwrap(), "."]).status().unwrap();
        assert!(made.success());
        file
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(blob), "size": blob.len() })
}

fn put(layout: &Path, blob: &[u8]) {
    let folder = layout.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&digest(blob)["sha256:".len()..]), blob).unwrap();
}

/// A service whose versions are images.
fn begin(run: &str) -> (Place, Repository) {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &format!("name = \"store\"\n[run]\nimage = true\n{run}\n{ROUTE}"));
    repository.commit("feat: begin");
    place.run(&["service", "add", repository.folder()]);
    (place, repository)
}

fn release(place: &Place, image: &str) -> String {
    place.told(&["release", "store", "--image", image])
}

fn deploy(place: &Place, version: &str) {
    place.run(&["deploy", &format!("store@{version}"), "--env", ENVIRONMENT, "--strategy", "all-at-once"]);
}

fn assert_says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

/// What the instances of a version have said.
fn log_of(place: &Place, version: &str) -> String {
    let status = place.status().to_string();
    let begin = format!("store-{version}-");
    let id = status.split('"').find(|word| word.starts_with(&begin)).unwrap().to_owned();
    place.run(&["logs", &id])
}

#[test]
fn images_of_a_folder_and_of_docker_save_run_go_forward_and_back() {
    let (place, _) = begin("");
    let one = Image::serving("one").layout(&place, "one");
    assert_says(&release(&place, &one), &["store@1.0.0", "image: ", "sha256:"]);
    deploy(&place, "1.0.0");
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));

    // The same image is no news; another one of the same commit is.
    place.fail(&["release", "store", "--image", &one], 3);
    let two = Image::serving("two").saved(&place, "two.tar.gz");
    assert_says(&release(&place, &two), &["store@1.0.1", "two.tar.gz (id sha256:"]);
    deploy(&place, "1.0.1");
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));
    place.run(&["rollback", "store", "--to", "1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));

    // However it was given, it is the same artifact.
    let again = Image::serving("one").saved(&place, "one.tar.gz");
    assert_says(&release(&place, &again), &["its files are those of store@1.0.0"]);
    let version = place.json(&["show", "store@1.0.0"]);
    let image = &version["made_elsewhere"]["image"];
    assert_eq!(image["reference"], one);
    assert!(image["platform"].as_str().unwrap().starts_with("linux/"), "{image}");
}

#[test]
fn an_instance_of_an_image_sees_its_own_root_and_nothing_of_the_host() {
    let (place, _) = begin("data = [\"/var/lib/store\"]");
    let probe = "#!/bin/sh\n\
        echo \"as $(id -u):$(id -g) in $PWD, home $HOME, $GREETING\"\n\
        for path in / /srv /srv/store /tmp /dev/shm /var/lib/store; do\n\
            if [ -d $path ]; then p=$path/new; else p=$path; fi\n\
            (echo x >> $p) 2>/dev/null && echo \"writes $path\" || echo \"reads $path\"\n\
        done\n\
        [ -e /etc/hostname ] || [ -e /usr ] && echo 'sees the host'\n\
        cat /proc/1/environ 2>/dev/null && echo 'sees others'\n\
        ls /proc/1/root/ 2>/dev/null && echo 'leaves its root'\n\
        (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo 'changes the kernel'\n\
        mount -t tmpfs x /tmp 2>/dev/null && echo 'mounts'\n\
        (echo said by name > /dev/stdout) && cat $LOCKSTEP_ROUTED_FILE\n\
        echo asked\n\
        exec httpd -f -p $HOST:$PORT -h /srv\n";
    let image = Image::serving("one")
        .with("probe.sh", probe, 0o755)
        .configured("Entrypoint", json!(["/probe.sh"]))
        .configured("Cmd", Value::Null);
    release(&place, &image.layout(&place, "one"));
    deploy(&place, "1.0.0");
    let said = log_of(&place, "1.0.0");
    assert_says(&said, &["as 0:0 in /srv, home /root, hello ${self.port}", "said by name", "asked"]);
    assert_says(&said, &["writes /srv/store", "writes /tmp", "writes /var/lib/store", "writes /dev/shm"]);
    for bad in ["sees the host", "sees others", "leaves its root", "changes the kernel", "mounts"] {
        assert!(!said.contains(bad), "{bad}:\n{said}");
    }

    // Another user writes what is its own, and what is for all; its data folder comes along.
    let image = image.configured("User", json!("web")).with("own/file", "", 0o666);
    release(&place, &image.layout(&place, "two"));
    deploy(&place, "1.0.1");
    let said = log_of(&place, "1.0.1");
    assert_says(&said, &["as 1000:1000 in /srv, home /srv", "said by name", "asked"]);
    if rustix::process::geteuid().is_root() {
        assert_says(&said, &["reads /srv/store", "writes /tmp"]);
    }
    let image = image.configured("User", json!("nobody-knows"));
    let refused = place.fail(&["release", "store", "--image", &image.layout(&place, "three")], 1);
    assert_says(&refused, &["it runs as `nobody-knows`, and its /etc/passwd has no `nobody-knows`"]);
}

/// A link through another process is a way to the host, for whoever may follow it. What is made for an instance is made before there are any.
#[test]
fn no_link_of_an_image_leads_what_is_made_for_it_to_the_host() {
    let (place, _) = begin("data = [\"/kept/data\"]\nfiles = [\"/conf/store.conf\"]");
    let victim = place.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(format!("{victim}/hosts"), "of the host").unwrap();
    let out = format!("/proc/{}/root{victim}", std::process::id());
    let conf = |image: Image| image.with("conf/store.conf", "${self.port}", 0o644);
    let images = [
        conf(Image::serving("one")).linked("etc", &out),
        conf(Image::serving("two")).linked("kept", &out),
        // What a process made before it was started again, over the image.
        conf(Image::serving("three")).configured("Entrypoint", json!(["sh", "-c"])).configured(
            "Cmd",
            json!([format!("rm -rf /conf /etc; ln -s {out} /conf; ln -s {out} /etc; sleep 1; exit 1")]),
        ),
    ];
    for (number, image) in images.iter().enumerate() {
        release(&place, &image.layout(&place, &format!("image-{number}")));
        let version = format!("store@1.0.{number}");
        let _ = place.command(&["deploy", &version, "--env", ENVIRONMENT]).output().unwrap();
        let found: Vec<_> = fs::read_dir(&victim).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(found, ["hosts"], "image {number}");
        assert_eq!(fs::read_to_string(format!("{victim}/hosts")).unwrap(), "of the host");
    }
}

#[test]
fn what_is_written_over_an_image_goes_with_the_instance_and_data_stays() {
    let (mut place, _) = begin("data = [\"/data\"]\nhealth = { command = \"cat /ready\" }");
    let count = "#!/bin/sh\necho x >> /data/starts; echo x >> /over; touch /ready\n\
        cat /data/starts /over > /srv/store\nexec httpd -f -p $HOST:$PORT -h /srv\n";
    let image =
        Image::serving("none").with("count.sh", count, 0o755).configured("Entrypoint", json!(["/count.sh"]));
    release(&place, &image.layout(&place, "one"));
    deploy(&place, "1.0.0");
    let lines = |place: &Place| place.ask("/store").1.split_whitespace().count();
    assert_eq!(lines(&place), 2, "one start, one line over the image");

    // A process that died is started again over the same files; the server and the supervisor may die, too.
    let data = place.data();
    let process = *processes::of_instances(&data).values().next().unwrap();
    place.kill_server();
    processes::of_supervisors(&data).into_values().for_each(processes::kill);
    assert!(processes::is_alive(process));
    place.start_server();
    assert_eq!(place.ask("/store").0, 200);
    processes::kill(process);
    eventually("it is started again", || (lines(&place) == 4).then_some(()));

    // Another instance begins with the image again, and with the data.
    place.run(&["restart", "store", "--env", ENVIRONMENT]);
    assert_eq!(lines(&place), 4, "three starts, and one line over the image");
    place.run(&["remove", "store", "--env", ENVIRONMENT]);
    let instances = PathBuf::from(&data).join("runtime/instances");
    eventually("nothing is left", || (fs::read_dir(&instances).unwrap().count() == 0).then_some(()));
    assert_eq!(processes::of_folder(&data).len(), 1, "the server");
}

#[test]
fn what_is_no_image_for_here_or_lies_about_itself_is_refused() {
    let (place, repository) = begin("");
    let layout = Image::serving("one").layout(&place, "one");
    let folder = PathBuf::from(&layout);
    let blob = |kind: &str| {
        let manifest = fs::read_to_string(folder.join("index.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let name = |value: &Value| value.as_str().unwrap()["sha256:".len()..].to_owned();
        let manifest_name = name(&manifest["manifests"][0]["digest"]);
        let path = folder.join("blobs/sha256").join(&manifest_name);
        let content: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let digest = match kind {
            "layer" => name(&content["layers"][0]["digest"]),
            "config" => name(&content["config"]["digest"]),
            _ => manifest_name,
        };
        folder.join("blobs/sha256").join(digest)
    };
    for kind in ["layer", "config", "manifest"] {
        let path = blob(kind);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let expected = if kind == "layer" { 1 } else { 2 };
        let said = place.fail(&["release", "store", "--image", &layout], expected);
        assert_says(&said, &["is not what its digest says"]);
        fs::write(&path, &whole).unwrap();
    }
    let said = place.fail(&["release", "store", "--image", &layout, "--platform", "linux/s390x"], 2);
    assert_says(&said, &["it is not for linux/s390x, but for linux/"]);
    let said = place.fail(&["release", "store"], 3);
    assert_says(&said, &["the versions of store are images", "lockstep release store --image WHAT"]);
    let said = place.fail(&["release", "store", "--image", "./missing"], 2);
    assert_says(&said, &["there is no `./missing`"]);
    let none = Image::serving("x").configured("Entrypoint", Value::Null).configured("Cmd", Value::Null);
    let said = place.fail(&["release", "store", "--image", &none.layout(&place, "none")], 1);
    assert_says(&said, &["it says no command"]);
    let none = Image::serving("x").configured("Entrypoint", json!(["/srv/none"]));
    let said = place.fail(&["release", "store", "--image", &none.layout(&place, "gone")], 1);
    assert_says(&said, &["it has no program `/srv/none`"]);
    for (number, (key, value, expected)) in [
        ("Env", json!(["A=a\u{0}b"]), "has a NUL character"),
        ("Env", json!([format!("A={}", "x".repeat(128 * 1024))]), "`A` has more than"),
        ("Env", json!((0..20).map(|n| format!("A{n}={}", "x".repeat(100_000))).collect::<Vec<_>>()), "2000"),
        ("WorkingDir", json!("/srv/store/below"), "`/srv/store` is a file"),
    ]
    .into_iter()
    .enumerate()
    {
        let image = Image::serving("x").configured(key, value).layout(&place, &format!("bad{number}"));
        assert_says(&place.fail(&["release", "store", "--image", &image], 1), &[expected]);
    }
    repository.write("lockstep.toml", &format!("name = \"store\"\n[run]\ncommand = \"./x\"\n{ROUTE}"));
    repository.commit("feat: no image");
    let said = place.fail(&["release", "store", "--image", &layout], 1);
    assert_says(&said, &["the versions of store are no images", "image = true"]);
}

#[test]
fn the_manifest_wins_and_its_arguments_take_the_place_of_those_of_the_image() {
    let (place, repository) = begin(
        "arguments = \"exec httpd -f -p ${self.host}:${self.port} -h /other\"\nenv = { GREETING = \"mine\" }\nfiles = [\"/other/store\"]",
    );
    // `sh -c` of the image gets them as one word only when it is one.
    let manifest = fs::read_to_string(Path::new(repository.folder()).join("lockstep.toml")).unwrap();
    let manifest = manifest.replace(
        "arguments = \"exec httpd -f -p ${self.host}:${self.port} -h /other\"",
        "arguments = [\"exec httpd -f -p ${self.host}:${self.port} -h /other\"]",
    );
    repository.write("lockstep.toml", &manifest);
    repository.commit("fix: one word");
    let image = Image::serving("one").with("other/store", "${self.version} says ${env.GREETING}", 0o644);
    release(&place, &image.layout(&place, "one"));
    deploy(&place, "1.0.0");
    assert_eq!(place.ask("/store"), (200, "1.0.0 says mine".to_owned()));
}

/// A real registry.
struct Registry {
    server: Child,
    address: String,
}

impl Registry {
    fn begin(place: &Place) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let folder = place.path("registry");
        fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {folder}/data }} }}\n\
             http: {{ addr: \"{address}\" }}\n"
        );
        fs::write(format!("{folder}/config.yml"), config).unwrap();
        let server = Command::new("docker-registry")
            .args(["serve", &format!("{folder}/config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("apt-get install docker-registry");
        let registry = Self { server, address };
        eventually("the registry listens", || TcpStream::connect(&registry.address).ok());
        registry
    }

    fn push(&self, layout: &str, name: &str) {
        let to = format!("docker://{}/{name}", self.address);
        let pushed = Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false", &format!("oci:{layout}"), &to])
            .status()
            .expect("apt-get install skopeo");
        assert!(pushed.success());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn an_image_of_a_registry_is_pinned_by_its_digest_when_it_is_released() {
    let (place, _) = begin("");
    let registry = Registry::begin(&place);
    registry.push(&Image::serving("one").layout(&place, "one"), "team/store:1.4");
    let name = format!("{}/team/store:1.4", registry.address);
    let said = release(&place, &name);
    assert_says(&said, &["fetch ", "it is sha256:", "store@1.0.0", &format!("image: {name} (sha256:")]);
    let digest = place.json(&["show", "store@1.0.0"])["made_elsewhere"]["image"]["digest"].clone();
    // The tag moves on, the version does not; the digest still leads to what it was.
    registry.push(&Image::serving("two").layout(&place, "two"), "team/store:1.4");
    assert_says(&release(&place, &name), &["store@1.0.1"]);
    let pinned = format!("{}/team/store@sha256:{}", registry.address, digest.as_str().unwrap());
    let said = place.fail(&["release", "store", "--image", &pinned], 3);
    assert_says(&said, &["store@1.0.0 was made of the same archive"]);
    deploy(&place, "1.0.1");
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));
    let none = format!("{}/team/none:1", registry.address);
    let said = place.fail(&["release", "store", "--image", &none], 2);
    assert_says(&said, &["answered 404", "is its name right"]);
}

#[test]
fn an_image_alone_becomes_a_service_without_a_repository() {
    let place = Place::begin();
    let image = Image::serving("one")
        .configured("ExposedPorts", json!({"8080/tcp": {}}))
        .configured("Env", json!(["PORT=8080", "PATH=/bin", "GREETING=hello"]));
    let one = image.saved(&place, "store.tar.gz");
    let manifest = place.path("lockstep.toml");
    let folder = Path::new(&manifest).parent().unwrap().to_str().unwrap();
    let said = place.told(&["init", folder, "--image", &one]);
    assert_says(&said, &["variable", "lockstep service add --manifest", "--no-repository"]);
    place.told(&["service", "add", "--manifest", &manifest, "--no-repository"]);
    assert_says(&release(&place, &one), &["store@1.0.0"]);
    deploy(&place, "1.0.0");
    assert_eq!(place.ask("/store/store"), (200, "one".to_owned()));
    let two = Image::serving("two").layout(&place, "two");
    assert_says(&release(&place, &two), &["store@1.0.1"]);
    deploy(&place, "1.0.1");
    assert_eq!(place.ask("/store/store"), (200, "two".to_owned()));
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.ask("/store/store"), (200, "one".to_owned()));
    // What is none says so, and writes nothing.
    fs::remove_file(&manifest).unwrap();
    let nothing = place.path("nothing.tar");
    fs::write(&nothing, "nothing").unwrap();
    assert_says(&place.fail(&["init", folder, "--image", &nothing], 2), &["nothing.tar"]);
    assert!(!Path::new(&manifest).exists());
}

#[test]
fn an_image_calls_others_by_the_names_and_ports_that_it_was_built_with() {
    let more = "[requires]\nstock = { version = \"*\", port = 8099 }";
    let (place, _) = begin(more);
    place.deployed("stock");
    let calling = |name: &str| {
        let call = format!("/bin/busybox wget -q -O /srv/store http://{name}:8099/");
        let text = format!("until {call}; do sleep 0.1; done; exec httpd -f -p $HOST:$PORT -h /srv");
        Image::serving("not this").configured("Cmd", json!([text]))
    };
    for (number, name) in [("1.0.0", "stock"), ("1.0.1", "stock.internal")] {
        release(&place, &calling(name).layout(&place, name));
        deploy(&place, number);
        assert_eq!(place.ask("/store"), (200, "one".to_owned()), "{name}");
    }
}
