//! `lockstep release --image`: finds an image in a folder, a file or a registry, and makes of it the one file that is sent.
//!
//! The registry is asked from here, with the credentials of whoever releases: the server has none, and needs no way there.

use std::fs::File;
use std::path::{Path, PathBuf};

use lockstep_image::{
    Credentials, CredentialsError, ImageError, ImageName, Platform, PullError, open, pull, write_tar,
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
pub(super) struct ImageArgs {
    /// Release this image: a folder with an OCI layout, a tar of one or of `docker save`, or a name in a registry.
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
pub(super) struct ImageFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) reference: String,
    pub(super) chosen: Option<String>,
    /// The file goes with this.
    _made: Option<TempDir>,
}

impl ImageArgs {
    pub(super) const fn is_given(&self) -> bool {
        self.image.is_some()
    }

    /// Finds the image, or fetches it.
    pub(super) fn find(&self, ctx: &Context) -> Result<Option<ImageFile>, Failure> {
        let Some(what) = &self.image else { return Ok(None) };
        let path = Path::new(what);
        if path.is_dir() {
            let made = tempfile::tempdir().map_err(|error| Failure::file("make", path, &error))?;
            return self.of_layout(what, path, made).map(Some);
        }
        if path.exists() {
            return Ok(Some(self.of_file(what, path)));
        }
        let is_archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| what.ends_with(end));
        if what.starts_with(['/', '.']) || is_archive {
            return Err(Failure::usage(format!("there is no `{what}`")).hint(
                "name a folder with an OCI layout, a tar, or an image as registry.example/team/orders:1.4",
            ));
        }
        self.of_registry(ctx, what).map(Some)
    }

    fn of_file(&self, what: &str, path: &Path) -> ImageFile {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (path, chosen) = (path.to_owned(), self.image_name.clone());
        ImageFile { path, name, reference: what.to_owned(), chosen, _made: None }
    }

    fn of_registry(&self, ctx: &Context, what: &str) -> Result<ImageFile, Failure> {
        let name: ImageName = what
            .parse()
            .map_err(|error| Failure::usage(format!("there is no file or folder `{what}`, and {error}")))?;
        let made = tempfile::tempdir().map_err(|error| Failure::file("make", Path::new("image"), &error))?;
        let layout = made.path().join("layout");
        std::fs::create_dir(&layout).map_err(|error| Failure::file("make", &layout, &error))?;
        let progress = Progress::begin(&ctx.out);
        progress.line(&format!("fetch {name}"));
        let (credentials, unasked) = credentials(&name.registry)?;
        let plain = if self.plain_http { PlainHttp::Everywhere } else { PlainHttp::LoopbackOnly };
        let told = |text: &str| progress.status(text);
        let platform = self.platform();
        let pulling = pull(&name, &platform, credentials, plain, &layout, told);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::file("make", &layout, &error))?;
        let pulled = runtime.block_on(pulling).map_err(|error| of_pull(what, &error, unasked))?;
        progress.line(&format!("it is sha256:{}", pulled.digest));
        self.of_layout(what, &layout, made)
    }

    fn of_layout(&self, what: &str, layout: &Path, made: TempDir) -> Result<ImageFile, Failure> {
        let refused = |error: ImageError| of_image(what, &error);
        let found = open(layout, self.image_name.as_deref(), &self.platform()).map_err(refused)?;
        let path = made.path().join(SENT_AS);
        let file = File::create(&path).map_err(|error| Failure::file("write", &path, &error))?;
        write_tar(&found, std::io::BufWriter::new(file)).map_err(refused)?;
        Ok(ImageFile {
            path,
            name: SENT_AS.to_owned(),
            reference: what.to_owned(),
            chosen: None,
            _made: Some(made),
        })
    }

    fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::here)
    }
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
