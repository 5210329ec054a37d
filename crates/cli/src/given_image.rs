//! `--image`: finds an image in a folder, a file or a registry, and makes of it the one file that is sent, or says what it says of itself.
//!
//! The registry is asked from here, with the credentials of whoever releases: the server has none, and needs no way there.

use std::fs::File;
use std::path::{Path, PathBuf};

use lockstep_image::{
    Credentials, CredentialsError, Facts, ImageError, ImageName, Parts, Platform, PullError, open, pull,
    unpack_tar, write_tar,
};
use lockstep_reach::PlainHttp;
use tempfile::TempDir;

use crate::context::Context;
use crate::failure::{Failure, with_sources};
use crate::progress::Progress;

/// User and password for the registry, where Docker's configuration should not be asked.
const USER: &str = "LOCKSTEP_REGISTRY_USER";
const PASSWORD: &str = "LOCKSTEP_REGISTRY_PASSWORD";
/// What an image is called where it is sent.
const SENT_AS: &str = "image.tar";

/// Which image.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImageArgs {
    /// An image: a folder with an OCI layout, a tar of one or of `docker save`, or a name in a registry.
    ///
    /// A name is resolved once, and the digest is recorded. A file or folder of that name comes first.
    #[arg(long, value_name = "WHAT", group = "elsewhere")]
    image: Option<String>,
    /// Which image, where the folder or tar has several.
    #[arg(long, value_name = "NAME", requires = "image")]
    image_name: Option<String>,
    /// For which platform, of an image for several: that of this machine when left out. It must be the server's.
    #[arg(long, value_name = "OS/ARCH", requires = "image")]
    platform: Option<Platform>,
    /// Ask a registry on another machine without TLS, and send credentials so.
    #[arg(long, requires = "image")]
    plain_http: bool,
}

/// A file to be sent, and what is in it.
pub(crate) struct ImageFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) reference: String,
    pub(crate) chosen: Option<String>,
    /// The file goes with this.
    _made: Option<TempDir>,
}

/// Where an image was found.
enum Place {
    File(PathBuf),
    Layout(PathBuf),
    /// Fetched into a folder that goes with this.
    Fetched(TempDir),
}

impl ImageArgs {
    /// What was asked for, where something was.
    pub(crate) fn what(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// Finds the image, or fetches it.
    pub(crate) fn find(&self, ctx: &Context) -> Result<Option<ImageFile>, Failure> {
        let Some(what) = self.what() else { return Ok(None) };
        let file = match self.place(ctx, what, Parts::All)? {
            Place::File(path) => self.of_file(what, path),
            Place::Layout(folder) => self.of_layout(what, &folder)?,
            Place::Fetched(folder) => self.of_layout(what, folder.path())?,
        };
        Ok(Some(file))
    }

    /// Says what an image says of how it is run; its files are not fetched for that.
    pub(crate) fn facts(&self, ctx: &Context, what: &str) -> Result<Facts, Failure> {
        let folder = match self.place(ctx, what, Parts::Description)? {
            Place::Layout(folder) => return self.facts_in(what, &folder),
            Place::Fetched(folder) => folder,
            Place::File(path) => {
                let folder = scratch()?;
                unpack_tar(&path, folder.path()).map_err(|error| of_image(what, &error))?;
                folder
            }
        };
        self.facts_in(what, folder.path())
    }

    fn facts_in(&self, what: &str, layout: &Path) -> Result<Facts, Failure> {
        let found = open(layout, self.image_name.as_deref(), &self.platform());
        found.map(|found| found.facts()).map_err(|error| of_image(what, &error))
    }

    fn place(&self, ctx: &Context, what: &str, parts: Parts) -> Result<Place, Failure> {
        let path = Path::new(what);
        if path.is_dir() {
            return Ok(Place::Layout(path.to_owned()));
        }
        if path.exists() {
            return Ok(Place::File(path.to_owned()));
        }
        let is_archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| what.ends_with(end));
        if what.starts_with(['/', '.']) || is_archive {
            return Err(Failure::usage(format!("there is no `{what}`")).hint(
                "name a folder with an OCI layout, a tar, or an image as registry.example/team/orders:1.4",
            ));
        }
        self.fetched(ctx, what, parts).map(Place::Fetched)
    }

    fn fetched(&self, ctx: &Context, what: &str, parts: Parts) -> Result<TempDir, Failure> {
        let name: ImageName = what
            .parse()
            .map_err(|error| Failure::usage(format!("there is no file or folder `{what}`, and {error}")))?;
        let layout = scratch()?;
        let progress = Progress::begin(&ctx.out);
        progress.line(&format!("fetch {name}"));
        let (credentials, unasked) = credentials(&name.registry)?;
        let plain = if self.plain_http { PlainHttp::Everywhere } else { PlainHttp::LoopbackOnly };
        let told = |text: &str| progress.status(text);
        let platform = self.platform();
        let pulling = pull(&name, &platform, credentials, plain, layout.path(), parts, told);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::file("make", layout.path(), &error))?;
        let pulled = runtime.block_on(pulling).map_err(|error| of_pull(what, &error, unasked))?;
        progress.line(&format!("it is sha256:{}", pulled.digest));
        Ok(layout)
    }

    fn of_file(&self, what: &str, path: PathBuf) -> ImageFile {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let chosen = self.image_name.clone();
        ImageFile { path, name, reference: what.to_owned(), chosen, _made: None }
    }

    fn of_layout(&self, what: &str, layout: &Path) -> Result<ImageFile, Failure> {
        let refused = |error: ImageError| of_image(what, &error);
        let found = open(layout, self.image_name.as_deref(), &self.platform()).map_err(refused)?;
        let made = scratch()?;
        let path = made.path().join(SENT_AS);
        let file = File::create(&path).map_err(|error| Failure::file("write", &path, &error))?;
        write_tar(&found, std::io::BufWriter::new(file)).map_err(refused)?;
        let (name, reference) = (SENT_AS.to_owned(), what.to_owned());
        Ok(ImageFile { path, name, reference, chosen: None, _made: Some(made) })
    }

    fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::here)
    }
}

fn scratch() -> Result<TempDir, Failure> {
    tempfile::tempdir().map_err(|error| Failure::file("make", &std::env::temp_dir(), &error))
}

/// Finds who asks the registry. What a program keeps is not asked for: perhaps nobody has to be anybody there.
fn credentials(registry: &str) -> Result<(Option<Credentials>, Option<CredentialsError>), Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    match (variable(USER), variable(PASSWORD)) {
        (Some(user), Some(password)) => return Ok((Some(Credentials::new(user, password)), None)),
        (None, None) => {}
        _ => return Err(Failure::usage(format!("{USER} and {PASSWORD} are given together or not at all"))),
    }
    let folder = variable("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&variable("HOME")?).join(".docker")));
    let Some(folder) = folder else { return Ok((None, None)) };
    match Credentials::in_folder(&folder, registry) {
        Ok(found) => Ok((found, None)),
        Err(helper @ CredentialsError::Helper { .. }) => Ok((None, Some(helper))),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

fn of_pull(what: &str, error: &PullError, unasked: Option<CredentialsError>) -> Failure {
    let text = format!("{what} was not fetched: {}", with_sources(error));
    let by_variables = format!("set {USER} and {PASSWORD}, or docker login");
    match (error, unasked) {
        (PullError::Denied { .. }, Some(helper)) => {
            Failure::usage(format!("{text}: {helper}")).hint(format!("set {USER} and {PASSWORD}"))
        }
        (PullError::Denied { .. }, None) => Failure::usage(text).hint(by_variables),
        (PullError::Status { status: 404, .. }, _) => {
            Failure::usage(text).hint("is its name right, and its tag?")
        }
        (PullError::Image(error), _) => of_image(what, error),
        _ => Failure::usage(text),
    }
}

fn of_image(what: &str, error: &ImageError) -> Failure {
    let failure = Failure::usage(format!("`{what}` is not taken: {}", with_sources(error)));
    match error {
        ImageError::Several { names } | ImageError::NoSuch { names, .. } => {
            let first = names.first().map_or("NAME", String::as_str);
            failure.hint(format!("say which one: --image-name {first}"))
        }
        ImageError::Platform { .. } => failure.hint(
            "the platform of the server is what it has to be for; from another machine: --platform OS/ARCH",
        ),
        ImageError::NoImage => failure.hint(
            "of a folder an OCI layout is taken; what `docker save` wrote is taken as the tar that it is",
        ),
        _ => failure,
    }
}
