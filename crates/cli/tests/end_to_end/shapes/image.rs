//! A version that is an image, given as the tar that `docker save` writes.

use serde_json::json;

use crate::images::Image;
use crate::support::place::Place;
use crate::support::repository::Repository;

use super::story::{Shape, Version, answer};

pub(super) struct Store {
    gateway: String,
}

impl Shape for Store {
    const SERVICES: &'static [&'static str] = &["store"];

    fn begin(_: &Place, gateway: &str) -> Self {
        Self { gateway: gateway.to_owned() }
    }

    fn write(&self, name: &str, repository: &Repository, version: Version) {
        let health = "health = { tcp = true, interval = \"100ms\" }";
        let toml = format!(
            "# {}\nname = \"{name}\"\n[run]\nimage = true\n{health}\n[[route]]\npath = \"/store\"\n",
            version.words()
        );
        repository.write("lockstep.toml", &toml);
    }

    fn release(&self, place: &Place, service: &str, version: Version) -> String {
        let mut image = Image::serving(version.words());
        if version == Version::Bad {
            image = image.configured("Cmd", json!(["exec httpd --no-such-option"]));
        }
        let tar = image.saved(place, &format!("{}.tar.gz", version.words()));
        let build = place.json(&["release", service, "--image", &tar]);
        format!("{service}@{}", build["version"].as_str().unwrap())
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        answer(&self.gateway, "/store", number).map(drop)
    }

    fn at_work(&self) -> Option<String> {
        answer(&self.gateway, "/store", 0).ok()
    }
}
