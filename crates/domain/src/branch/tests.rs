//! Branches, labels and numbers, by example and as properties.

use proptest::prelude::*;

use super::*;

fn numbers(texts: &[&str]) -> Vec<VersionNumber> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn cut(branch: &str) -> Cut {
    BranchPolicy::default().resolve(branch).unwrap()
}

fn next(existing: &[&str], branch: &str, owed: Bump, wanted: Option<Bump>) -> Result<String, String> {
    let next = next_number(&numbers(existing), &cut(branch), owed, None, wanted);
    next.map(|next| next.number.to_string()).map_err(|error| error.to_string())
}

#[test]
fn the_default_policy_knows_three_kinds_of_branches() {
    let resolve = |branch| {
        let cut = cut(branch);
        (cut.line, cut.label.map(String::from), cut.reach.map(String::from))
    };
    assert_eq!(resolve("main"), (Line::Free, None, None));
    let candidate = (Line::Minor(1, 5), Some("rc".into()), Some("pre-release".into()));
    assert_eq!(resolve("release/1.5"), candidate);
    assert_eq!(resolve("release/v1.5.x"), candidate);
    let feature = (Line::Free, Some("login".into()), Some("development".into()));
    assert_eq!(resolve("feature/login"), feature);
}

#[test]
fn a_branch_without_a_rule_is_told_which_rules_there_are() {
    let error = |branch| BranchPolicy::default().resolve(branch).unwrap_err().to_string();
    assert_eq!(
        error("wip"),
        "no rule lets branch `wip` cut a version; there are rules for `main`, `master`, `hotfix/*`, `release/*`, `feature/*`"
    );
    assert_eq!(
        error("release/spring"),
        "branch `release/spring` must say which numbers it leads to, as `release/1.5` does"
    );
    assert!(error("feature/").contains("no rule"));
}

#[test]
fn labels_are_always_identifiers() {
    let label = |branch: &str| String::from(cut(branch).label.unwrap());
    for (branch, expected) in [
        ("feature/Login_Form v2", "login-form-v2"),
        ("feature/123", "branch-123"),
        ("feature/--", "branch"),
        ("feature/ümlaut", "umlaut"),
        ("feature/u\u{308}mlaut", "umlaut"),
        ("feature/straße-øl", "strasse-ol"),
        ("feature/логин", "login"),
        ("feature/日本", "ri-ben"),
        ("feature/\u{200d}", "branch"),
        ("feature/rc", "branch-rc"),
        ("feature/a/b", "a-b"),
    ] {
        assert_eq!(label(branch), expected, "{branch}");
    }
}

#[test]
fn releases_grow_by_what_is_owed_or_wanted() {
    let cases: [(&[&str], Bump, Option<Bump>, &str); 13] = [
        (&[], Bump::Minor, None, "1.0.0"),
        (&[], Bump::Minor, Some(Bump::Minor), "0.1.0"),
        (&["1.0.0-login.1"], Bump::Patch, None, "1.0.0"),
        (&["1.4.0"], Bump::None, None, "1.4.1"),
        (&["1.4.0"], Bump::Patch, None, "1.4.1"),
        (&["1.4.2", "1.3.9"], Bump::Minor, None, "1.5.0"),
        (&["1.4.2"], Bump::Major, None, "2.0.0"),
        (&["1.4.2"], Bump::Patch, Some(Bump::Major), "2.0.0"),
        (&["1.4.2"], Bump::Major, Some(Bump::Patch), "1.4.3"),
        (&["1.4.0", "1.5.0-rc.3"], Bump::Minor, None, "1.5.0"),
        (&["0.3.1"], Bump::Major, None, "0.4.0"),
        (&["0.3.1"], Bump::Patch, None, "0.3.2"),
        (&["0.3.1"], Bump::Minor, Some(Bump::Major), "1.0.0"),
    ];
    for (existing, owed, wanted, expected) in cases {
        assert_eq!(next(existing, "main", owed, wanted).as_deref(), Ok(expected), "{existing:?} {owed:?}");
    }
}

#[test]
fn a_release_is_at_least_what_its_candidate_promised() {
    let next = |owed, leads_to: &str, wanted| {
        let leads_to = leads_to.parse().unwrap();
        let next =
            next_number(&numbers(&["1.0.0", "2.0.0-rc.1"]), &cut("main"), owed, Some(&leads_to), wanted);
        next.unwrap().number.to_string()
    };
    assert_eq!(next(Bump::None, "1.1.0", None), "1.1.0");
    assert_eq!(next(Bump::Patch, "2.0.0", None), "2.0.0");
    assert_eq!(next(Bump::Major, "1.1.0", None), "2.0.0");
    assert_eq!(next(Bump::None, "1.1.0", Some(Bump::Patch)), "1.0.1");
}

#[test]
fn a_hotfix_is_a_release_of_its_line() {
    assert_eq!(next(&["1.1.0", "1.2.0"], "hotfix/1.1", Bump::Patch, None).as_deref(), Ok("1.1.1"));
    assert_eq!(next(&["1.1.0", "1.2.0"], "hotfix/1.1.1", Bump::Patch, None).as_deref(), Ok("1.1.1"));
    assert_eq!(next(&["1.1.0", "1.2.0"], "hotfix/1.1", Bump::Minor, None).as_deref(), Ok("1.1.1"));
    let error = BranchPolicy::default().resolve("hotfix/login").unwrap_err().to_string();
    assert_eq!(error, "branch `hotfix/login` must say which numbers it leads to, as `hotfix/1.5` does");
}

#[test]
fn a_chosen_number_is_new_of_the_branch_and_higher() {
    let choose = |existing: &[&str], branch, owed, chosen: &str| {
        let next = chosen_number(&numbers(existing), &cut(branch), owed, &chosen.parse().unwrap());
        next.map(|next| (next.number.to_string(), next.shortfall.is_some()))
            .map_err(|error| error.to_string())
    };
    let good = |number: &str, short| Ok((number.to_owned(), short));
    assert_eq!(choose(&[], "main", Bump::Minor, "3.4.2"), good("3.4.2", false));
    assert_eq!(choose(&["3.4.1"], "main", Bump::Patch, "3.4.2"), good("3.4.2", false));
    assert_eq!(choose(&["3.4.1"], "main", Bump::Patch, "5.0.0"), good("5.0.0", false));
    assert_eq!(choose(&["3.4.1"], "main", Bump::Major, "3.5.0"), good("3.5.0", true));
    assert_eq!(choose(&["1.5.0-rc.2"], "release/1.5", Bump::None, "1.5.0-rc.7"), good("1.5.0-rc.7", false));
    assert_eq!(choose(&[], "hotfix/1.1", Bump::None, "1.1.4"), good("1.1.4", false));
    for (existing, branch, chosen, why) in [
        (&["3.4.1"][..], "main", "3.4.1", "3.4.1 is given already"),
        (&["3.4.1"], "main", "3.4.0", "3.4.0 would not be higher than 3.4.1, which is there already"),
        (&["3.4.1"], "main", "3.5.0-rc.1", "branch `main` cuts versions * and not 3.5.0-rc.1"),
        (&[], "hotfix/1.1", "1.2.0", "branch `hotfix/1.1` cuts versions 1.1.* and not 1.2.0"),
        (
            &[],
            "release/1.5",
            "1.5.0-login.1",
            "branch `release/1.5` cuts versions 1.5.*-rc.N and not 1.5.0-login.1",
        ),
        (
            &["1.5.0-rc.9"],
            "release/1.5",
            "1.5.0-rc.8",
            "1.5.0-rc.8 would not be higher than 1.5.0-rc.9, which is there already",
        ),
        (
            &["1.5.0"],
            "release/1.5",
            "1.5.0-rc.8",
            "1.5.0-rc.8 would not be higher than 1.5.0, which is there already",
        ),
    ] {
        assert_eq!(choose(existing, branch, Bump::None, chosen), Err(why.to_owned()), "{chosen}");
    }
}

#[test]
fn candidates_keep_the_numbers_of_their_branch_and_count_up() {
    let cases: [(&[&str], &str, &str); 7] = [
        (&[], "release/1.5", "1.5.0-rc.1"),
        (&["1.4.0"], "release/1.5", "1.5.0-rc.1"),
        (&["1.4.0", "1.5.0-rc.9", "1.5.0-rc.10", "1.5.0-login.40"], "release/1.5", "1.5.0-rc.11"),
        (&["1.5.0", "1.5.0-rc.2", "1.6.0"], "release/1.5", "1.5.1-rc.1"),
        (&["1.6.0"], "release/1.5", "1.5.0-rc.1"),
        (&["2.1.0"], "release/2", "2.2.0-rc.1"),
        (&["1.5.0"], "release/1.5.3", "1.5.3-rc.1"),
    ];
    for (existing, branch, expected) in cases {
        assert_eq!(
            next(existing, branch, Bump::Minor, None).as_deref(),
            Ok(expected),
            "{existing:?} {branch}"
        );
    }
}

#[test]
fn features_count_up_below_the_release_they_lead_to() {
    assert_eq!(next(&["1.4.0"], "feature/login", Bump::Minor, None).as_deref(), Ok("1.5.0-login.1"));
    let existing = ["1.4.0", "1.5.0-login.1", "1.5.0-log.7", "1.4.1-login.5"];
    assert_eq!(next(&existing, "feature/login", Bump::Minor, None).as_deref(), Ok("1.5.0-login.2"));
    assert_eq!(next(&[], "feature/login", Bump::Patch, None).as_deref(), Ok("1.0.0-login.1"));
}

#[test]
fn numbers_are_never_used_again_and_lines_never_left() {
    assert_eq!(
        next(&["1.5.0"], "release/1.5.0", Bump::Patch, None).unwrap_err(),
        "branch `release/1.5.0` leads to 1.5.0, which is released already"
    );
    assert_eq!(
        next(&["1.5.0"], "release/1.5", Bump::Patch, Some(Bump::Minor)).unwrap_err(),
        "branch `release/1.5` cuts versions 1.5.* only, and the demanded bump leads out of them"
    );
    let last = format!("1.0.{}", u64::MAX);
    assert_eq!(
        next(&[&last], "main", Bump::Patch, None).unwrap_err(),
        format!("there is no number after {last}")
    );
}

#[test]
fn a_number_that_grows_too_little_is_marked() {
    let shortfall = |existing: &[&str], branch, owed, wanted| {
        next_number(&numbers(existing), &cut(branch), owed, None, wanted).unwrap().shortfall
    };
    let short = |owed, given| Some(Shortfall { owed, given });
    assert_eq!(shortfall(&["1.4.0"], "main", Bump::Major, None), None);
    assert_eq!(
        shortfall(&["1.4.0"], "main", Bump::Major, Some(Bump::Patch)),
        short(Bump::Major, Bump::Patch)
    );
    assert_eq!(shortfall(&["1.5.0"], "release/1.5", Bump::Minor, None), short(Bump::Minor, Bump::Patch));
    assert_eq!(shortfall(&["1.4.0"], "release/1.5", Bump::Major, None), short(Bump::Major, Bump::Minor));
    assert_eq!(shortfall(&["0.4.0"], "main", Bump::Major, Some(Bump::Minor)), None);
    assert_eq!(shortfall(&[], "main", Bump::Major, Some(Bump::Minor)), None);
}

#[test]
fn the_changelog_begins_at_the_release_before() {
    let existing = numbers(&["1.4.0", "1.5.0-rc.1", "1.6.0", "2.0.0-login.1"]);
    let newest = |line| newest_release(&existing, line).map(ToString::to_string);
    assert_eq!(newest(Line::Free).as_deref(), Some("1.6.0"));
    assert_eq!(newest(Line::Minor(1, 5)).as_deref(), Some("1.4.0"));
    assert_eq!(newest(Line::Major(1)).as_deref(), Some("1.6.0"));
    assert_eq!(newest(Line::Minor(1, 0)), None);
}

#[test]
fn a_policy_is_data() {
    let policy = BranchPolicy::default();
    let json = serde_json::to_string(&policy).unwrap();
    assert!(
        json.contains(r#"{"pattern":"release/*","cuts":{"candidate":{"label":"rc"}},"reach":"pre-release"}"#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<BranchPolicy>(&json).unwrap(), policy);
    for bad in ["a*b*", "", "a b"] {
        assert!(bad.parse::<BranchPattern>().is_err(), "{bad}");
    }
    for bad in ["", "7", "RC", "a.b", "a_b"] {
        assert!(bad.parse::<Label>().is_err(), "{bad}");
    }
}

fn number() -> impl Strategy<Value = VersionNumber> {
    let pre = prop_oneof![Just(String::new()), "-(rc|login|a-b)\\.[1-9][0-9]?(\\.1)?", "-[a-z]{1,4}"];
    (0_u64..3, 0_u64..3, 0_u64..3, pre)
        .prop_map(|(major, minor, patch, pre)| format!("{major}.{minor}.{patch}{pre}").parse().unwrap())
}

fn branch() -> impl Strategy<Value = String> {
    prop_oneof![Just("main".into()), "release/[0-2](\\.[0-2]){0,2}", "feature/(login|a_b|.{1,50})"]
}

fn bump() -> impl Strategy<Value = Bump> {
    prop::sample::select(vec![Bump::None, Bump::Patch, Bump::Minor, Bump::Major])
}

proptest! {
    #[test]
    fn the_next_number_is_new_and_the_highest_of_its_line(
        existing in prop::collection::vec(number(), 0..12),
        branch in branch(),
        owed in bump(),
        leads_to in prop::option::of(number().prop_map(|number| number.release())),
        wanted in prop::option::of(bump()),
    ) {
        let Ok(cut) = BranchPolicy::default().resolve(&branch) else { return Ok(()) };
        let Ok(next) = next_number(&existing, &cut, owed, leads_to.as_ref(), wanted) else { return Ok(()) };
        prop_assert!(!existing.contains(&next.number));
        prop_assert!(cut.line.contains(&next.number));
        prop_assert_eq!(next.number.is_pre_release(), cut.label.is_some());
        prop_assert!(next.follows.is_none_or(|follows| follows < next.number));
        for other in existing.iter().filter(|other| cut.line.contains(other) && !other.is_pre_release()) {
            prop_assert!(*other < next.number);
        }
        let Some(label) = cut.label else { return Ok(()) };
        let counted = format!("{label}.");
        for other in existing.iter().filter(|other| other.release() == next.number.release()) {
            prop_assert!(!other.pre().starts_with(&counted) || *other < next.number);
        }
    }

    #[test]
    fn any_branch_name_resolves_or_is_refused(name in any::<String>()) {
        for branch in [name.clone(), format!("feature/{name}"), format!("release/{name}")] {
            if let Ok(Cut { label: Some(label), .. }) = BranchPolicy::default().resolve(&branch) {
                prop_assert!(VersionNumber::new(1, 0, 0).pre_release(label.as_str(), 1).is_ok());
            }
        }
    }

    #[test]
    fn counting_goes_on_for_ever(branch in branch(), owed in bump()) {
        let Ok(cut) = BranchPolicy::default().resolve(&branch) else { return Ok(()) };
        let mut existing: Vec<VersionNumber> = Vec::new();
        for _ in 0..12 {
            let next = next_number(&existing, &cut, owed, None, None);
            if let (Line::Patch(..), None) = (cut.line, &cut.label) { break }
            let next = next.unwrap().number;
            prop_assert!(existing.iter().all(|other| *other < next));
            existing.push(next);
        }
    }
}
