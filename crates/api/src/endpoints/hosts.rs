//! Endpoints of hosts.

use serde_json::{Map, Value};

use super::{Answer, Endpoint, get, of, post};
use crate::types::{
    AddHost, ChangeHost, HostFindings, HostView, PrefetchRequest, Prefetched, RemoveHost, TurnHost,
};

/// Lists them. Who may change environments and gateways may change hosts: operators.
pub(super) fn endpoints() -> Vec<Endpoint> {
    use Answer::Json;
    vec![
        get("/hosts", "listHosts", "Lists the hosts that instances run on", Json(of::<Vec<HostView>>)),
        post(
            "/hosts",
            "addHost",
            "Looks at a host over SSH and adds it when instances could run there; takes as long as sending it the program",
            of::<AddHost>,
            Json(of::<HostView>),
        ),
        get("/hosts/{host}", "getHost", "Shows a host and what runs there", Json(of::<HostView>)),
        post(
            "/hosts/{host}/change",
            "changeHost",
            "Changes what is decided about a host; what is left out stays",
            of::<ChangeHost>,
            Json(of::<HostView>),
        ),
        post(
            "/hosts/{host}/turn",
            "turnHost",
            "Opens, cordons or drains a host; returns when that is recorded",
            of::<TurnHost>,
            Json(of::<HostView>),
        ),
        post(
            "/hosts/{host}/check",
            "checkHost",
            "Looks at a host now and says what keeps instances from running there; takes as long as sending it the program",
            of::<Map<String, Value>>,
            Json(of::<HostFindings>),
        ),
        post(
            "/hosts/{host}/take-over",
            "takeHostOver",
            "Takes a host from another server that has it",
            of::<Map<String, Value>>,
            Json(of::<HostView>),
        ),
        post(
            "/hosts/{host}/remove",
            "removeHost",
            "Removes a host on which nothing runs, or one that is lost; answers with those that are left",
            of::<RemoveHost>,
            Json(of::<Vec<HostView>>),
        ),
        post(
            "/environments/{environment}/prefetch",
            "prefetch",
            "Brings artifacts to where an environment runs, without starting anything; returns at once",
            of::<PrefetchRequest>,
            Json(of::<Vec<Prefetched>>),
        ),
        get(
            "/environments/{environment}/prefetch",
            "listPrefetched",
            "Shows how far artifacts have come that were asked for ahead, for a day",
            Json(of::<Vec<Prefetched>>),
        ),
    ]
}
