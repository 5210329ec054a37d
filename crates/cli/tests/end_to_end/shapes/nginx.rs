//! nginx in front, configured by a template: what it listens on and where the service behind it is are filled in at start.

use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::{Repository, manifest, service};

use super::story::{Shape, Version, answer};

const MANIFEST: &str = r#"
name = "front"

[requires]
api = "*"

[run]
command = ["nginx", "-p", ".", "-c", "conf/nginx.conf", "-g", "daemon off;"]
files = ["conf/nginx.conf"]
health = { http = "/health", interval = "100ms", start_timeout = "20s" }
stop = { signal = "QUIT" }

[[route]]
path = "/"
"#;

const CONFIG: &str = r#"
USER
pid nginx.pid;
error_log stderr;
worker_processes 1;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen ${self.host}:${self.port};
        DIRECTIVE
        location = /health { return 200 "ok"; }
        location = /said { return 200 "WORDS"; }
        location /api/ { proxy_pass ${service.api.url}/; }
    }
}
"#;

pub(super) struct Front {
    gateway: String,
}

impl Shape for Front {
    const SERVICES: &'static [&'static str] = &["front"];

    fn begin(place: &Place, gateway: &str) -> Self {
        let api = place.repository("api");
        api.write("lockstep.toml", &manifest("api", "", "").replace("[[route]]\npath = \"/api\"\n", ""));
        api.write("service.py", &service("behind it"));
        let version = place.first_release(&api, "api");
        place.run(&["deploy", &version, "--env", ENVIRONMENT]);
        Self { gateway: gateway.to_owned() }
    }

    fn write(&self, _: &str, repository: &Repository, version: Version) {
        repository.write("lockstep.toml", MANIFEST);
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let directive = if version == Version::Bad { "try_fils $uri;" } else { "root html;" };
        let config = CONFIG.replace("USER", user).replace("DIRECTIVE", directive);
        repository.write("conf/nginx.conf", &config.replace("WORDS", version.words()));
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        let asks_nginx = number.is_multiple_of(2);
        let path = if asks_nginx { "/said" } else { "/api/orders" };
        let text = answer(&self.gateway, path, number)?;
        let is_known = asks_nginx || text == "behind it";
        if is_known { Ok(()) } else { Err(text) }
    }

    fn at_work(&self) -> Option<String> {
        answer(&self.gateway, "/said", 0).ok()
    }
}
