//! The history that charts are drawn from: a row of figures of every service each ten seconds.
//!
//! It is no part of the journal and of no backup: when it is lost, charts begin anew and nothing else changes. Who cannot write it goes on
//! without it, and says so.

mod figures;
mod prometheus;
mod queries;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::Problem;
use lockstep_api::types::{ChartPoint, ChartSeries, ChartSource, ChartsView};
use lockstep_domain::{EnvironmentName, ServiceName, Timestamp};
use lockstep_series::{Answer, Bounds, Extent, MAX_POINTS, Point, Query, SeriesKey, Store};
use tokio::sync::Semaphore;

use self::figures::Counted;
use crate::{Control, environments, internal, lock, services};

/// How often a row is kept.
const EVERY: Duration = Duration::from_secs(10);
/// The folder of the history, in the data folder.
const FOLDER: &str = "series";
/// Points of a curve for whoever does not say: as many as a page is wide.
const POINTS: usize = 300;
/// Charts for which a Prometheus is asked at a time: one that hangs must not gather whoever waits for it.
const ASKING: usize = 8;

/// The history.
#[derive(Debug)]
pub(crate) struct Charts {
    store: Mutex<Option<Store>>,
    asking: Semaphore,
}

impl Charts {
    /// Opens the history; without one where it cannot be opened.
    pub(crate) fn open(data: &Path) -> Self {
        let opened = Store::open(&data.join(FOLDER), Bounds::default());
        let opened = opened.inspect_err(|error| tracing::warn!(%error, "there will be no charts"));
        let store = opened.ok().map(|(store, problems)| {
            problems.iter().for_each(|problem| tracing::warn!(%problem, "the history of charts"));
            store
        });
        Self { store: Mutex::new(store), asking: Semaphore::new(ASKING) }
    }

    /// Returns what it has; nothing where there is none.
    fn read(&self, asked: &Asked<'_>) -> Option<Curves> {
        lock(&self.store).as_ref().map(|store| store.read(&asked.query()).into())
    }

    /// Keeps a row; tells whether it is kept.
    fn keep(&self, at: Timestamp, row: &[(SeriesKey, f64)]) -> Result<(), String> {
        let mut store = lock(&self.store);
        let Some(store) = store.as_mut() else { return Ok(()) };
        let appended = store.append(at.0, row).map_err(|error| error.to_string())?;
        appended.problems.iter().for_each(|problem| tracing::warn!(%problem, "the history of charts"));
        Ok(())
    }

    /// Returns the bytes that it has on disk; nothing where there is none.
    pub(crate) fn bytes(&self) -> Option<u64> {
        lock(&self.store).as_ref().map(Store::bytes)
    }
}

impl Control {
    /// Keeps rows again and again.
    pub(crate) async fn keep_charts(self: Arc<Self>) {
        let (mut before, mut failing) = (None::<(Instant, Counted)>, false);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let (used, _) = self.usage().await;
            let now = Counted::look(&self, &used);
            let row = now.row(before.as_ref().map(|(at, counted)| (at.elapsed(), counted)));
            before = Some((Instant::now(), now));
            let kept = tokio::task::block_in_place(|| self.charts.keep(self.ledger.now(), &row));
            match kept {
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(error, "a row of the history of charts was not kept");
                }
                Ok(()) if std::mem::take(&mut failing) => {
                    tracing::info!("the history of charts is kept again");
                }
                _ => {}
            }
        }
    }

    /// Returns curves of figures of a service: of the last `within_ms`, with so many points at most. They are those of a Prometheus where one is
    /// named that has all that the own history has, and else those of the own history, with the reason.
    ///
    /// # Errors
    /// When there is no such environment or service, or no history at all.
    pub async fn charts(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        figures: &[String],
        within_ms: u64,
        points: Option<usize>,
    ) -> Result<ChartsView, Problem> {
        let (now, world) = self.ledger.look();
        environments::find(&world, environment)?;
        let service = services::find(&world, service)?.name.clone();
        let asked = Asked {
            environment,
            names: std::iter::once(&service).chain(world.former_names(&service)).collect(),
            figures: figures::wanted(figures),
            within_ms: within_ms.min(now.0),
            points: points.unwrap_or(POINTS).clamp(1, MAX_POINTS),
            now,
        };
        let own = tokio::task::block_in_place(|| self.charts.read(&asked));
        let theirs = self.of_prometheus(&asked, own.as_ref()).await;
        let (curves, source, reason) = match (own, theirs) {
            (_, Some(Ok(theirs))) => (theirs, ChartSource::Prometheus, None),
            (Some(own), theirs) => (own, ChartSource::Own, theirs.and_then(Result::err)),
            (None, theirs) => return Err(no_history(theirs.and_then(Result::err))),
        };
        let Curves { step_ms, whole, series } = curves.only(figures);
        Ok(ChartsView { environment: environment.clone(), service, step_ms, whole, source, reason, series })
    }

    /// Asks the Prometheus that is named; or says why what it has is not the answer.
    async fn of_prometheus(&self, asked: &Asked<'_>, own: Option<&Curves>) -> Option<Result<Curves, String>> {
        let prometheus = self.config.prometheus.as_ref()?;
        let found = match self.charts.asking.try_acquire() {
            Ok(_room) => prometheus::ask(prometheus, asked).await,
            Err(_) => Err("it is asked for other charts at this moment; ask again".to_owned()),
        };
        let found = found.and_then(|theirs| match prometheus::lacks(&theirs, own) {
            Some(lacks) => Err(lacks),
            None => Ok(theirs),
        });
        Some(found.map_err(|why| format!("the Prometheus at {} was not used: {why}", prometheus.address())))
    }
}

/// What is asked for.
#[derive(Debug)]
struct Asked<'a> {
    environment: &'a EnvironmentName,
    /// The name of the service, and those that it had before.
    names: Vec<&'a ServiceName>,
    /// The figures, and with them the one that says when the service was there at all.
    figures: Vec<&'static str>,
    within_ms: u64,
    points: usize,
    now: Timestamp,
}

impl Asked<'_> {
    fn query(&self) -> Query {
        Query {
            prefix: format!("{}/{}/", self.environment, self.names[0]),
            figures: self.figures.iter().map(|&figure| figure.to_owned()).collect(),
            from_ms: self.now.0.saturating_sub(self.within_ms),
            until_ms: self.now.0.saturating_add(1),
            points: self.points,
        }
    }
}

/// Curves out of one history.
#[derive(Debug, Clone, PartialEq)]
struct Curves {
    step_ms: u64,
    whole: bool,
    series: Vec<ChartSeries>,
}

impl Curves {
    /// Leaves the figures that were asked for; all where none was named.
    fn only(mut self, figures: &[String]) -> Self {
        self.series.retain(|it| figures.is_empty() || figures.contains(&it.figure));
        self
    }
}

impl From<Answer> for Curves {
    fn from(answer: Answer) -> Self {
        let point = |point: Point| ChartPoint {
            at: Timestamp(point.at_ms),
            average: point.average,
            largest: point.largest,
        };
        let series = answer.series.into_iter().map(|(key, points)| {
            let version = key.version().map(str::to_owned);
            figures::series(version, key.figure(), points.into_iter().map(point).collect())
        });
        Self { step_ms: answer.step_ms, whole: answer.extent == Extent::Whole, series: series.collect() }
    }
}

fn no_history(reason: Option<String>) -> Problem {
    let reason = reason.map(|reason| format!("; {reason}")).unwrap_or_default();
    internal(format!("the history of charts could not be opened; the log of the server says why{reason}"))
}
