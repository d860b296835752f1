//! Moments on the clocks of the site's time zone, and durations between them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Offset, TimeZone, Timelike, Utc};
use chrono::{Duration, NaiveDateTime};
use chrono_tz::Tz;
use hulse::models::functions::now;
use hulse::models::{Every, Id, Meta, Model, TimeDelta};
use hulse::{App, Project, Site};

use super::tables::{migrated, open};

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "clocks", ordering = ["id"], get_latest_by = "started")]
struct Event {
    pub id: Id,
    pub started: DateTime<Utc>,
    pub ended: Option<DateTime<Utc>>,
    pub length: TimeDelta,
}

struct Clocks;

impl App for Clocks {
    fn label(&self) -> &'static str {
        "clocks"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Event::meta()]
    }
}

fn project() -> Project {
    Project::new("clocks", env!("CARGO_MANIFEST_DIR")).install(Clocks)
}

/// A site of each database whose clocks are those of each zone in turn.
async fn in_zones(zones: &[Tz], look: impl AsyncFn(&Site, Tz)) {
    for made in migrated(project).await {
        for zone in zones {
            let mut settings = made.settings.clone();
            settings.time_zone = *zone;
            let site = open(&project(), &settings).await;
            Event::objects().delete(&site).await.unwrap();
            look(&site, *zone).await;
        }
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn event(site: &Site, started: DateTime<Utc>) -> Event {
    Event::create(site, Event { started, ..Default::default() }).await.unwrap()
}

/// Ordinary moments, and some around the changes of the zones below.
fn moments() -> Vec<DateTime<Utc>> {
    let mut moments = vec![
        at("2021-12-31T23:59:59.999999Z"),
        at("2022-01-01T00:00:00Z"),
        at("2024-02-29T12:34:56.5Z"),
        at("1968-03-04T05:06:07Z"),
        at("2049-07-31T23:30:00Z"),
    ];
    // Berlin, New York, São Paulo (which skips a midnight), Lord Howe (half an hour), Kathmandu.
    for change in [
        "2024-03-31T01:00:00Z",
        "2024-10-27T01:00:00Z",
        "2024-11-03T06:00:00Z",
        "2018-11-04T03:00:00Z",
        "2024-04-06T15:00:00Z",
        "1985-12-31T18:30:00Z",
    ] {
        for minutes in [-90, -20, -1, 0, 1, 20, 90] {
            moments.push(at(change) + Duration::minutes(minutes));
        }
    }
    moments
}

const ZONES: [Tz; 6] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::America__Sao_Paulo,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Kathmandu,
];

/// The moment of what clocks show; of an hour that they skip, as if they had not.
fn moment(zone: Tz, wall: NaiveDateTime) -> DateTime<Utc> {
    let earliest = |wall: NaiveDateTime| zone.from_local_datetime(&wall).earliest();
    let day = Duration::days(1);
    earliest(wall).unwrap_or_else(|| earliest(wall - day).unwrap() + day).to_utc()
}

#[tokio::test]
async fn parts_of_moments_are_those_of_the_sites_clocks() {
    in_zones(&ZONES, async |site, zone| {
        for moment in moments() {
            event(site, moment).await;
        }
        let parts = Event::objects().values(|e| {
            let s = || e.started();
            let day = (s().year(), s().quarter(), s().month(), s().day());
            let week = (s().iso_year(), s().week(), s().week_day(), s().iso_week_day());
            (s(), day, week, (s().hour(), s().minute(), s().second()), s().date(), s().time())
        });
        for (moment, day, week, clock, date, time) in parts.all(site).await.unwrap() {
            let here = moment.with_timezone(&zone);
            let number = |number: u32| i32::try_from(number).unwrap();
            let wanted = (here.year(), number(here.month0() / 3 + 1));
            assert_eq!((day.0, day.1), wanted, "{here}");
            assert_eq!((day.2, day.3), (number(here.month()), number(here.day())), "{here}");
            let iso = here.iso_week();
            let weekday = here.weekday();
            let wanted = (iso.year(), number(iso.week()));
            assert_eq!((week.0, week.1), wanted, "{here}");
            let wanted = (weekday.num_days_from_sunday() + 1, weekday.number_from_monday());
            assert_eq!((week.2, week.3), (number(wanted.0), number(wanted.1)), "{here}");
            let wanted = (number(here.hour()), number(here.minute()), number(here.second()));
            assert_eq!(clock, wanted, "{here}");
            assert_eq!((date, time), (here.date_naive(), here.time()), "{here}");
        }
    })
    .await;
}

#[tokio::test]
async fn moments_are_cut_to_where_the_sites_clocks_begin_anew() {
    in_zones(&ZONES, async |site, zone| {
        for moment in moments() {
            event(site, moment).await;
        }
        let begins = Event::objects().values(|e| {
            let s = || e.started();
            let long = (s().trunc_year(), s().trunc_quarter(), s().trunc_month());
            let short = (s().trunc_hour(), s().trunc_minute(), s().trunc_second());
            (s(), long, (s().trunc_week(), s().trunc_day()), short)
        });
        for (of, long, days, short) in begins.all(site).await.unwrap() {
            let here = of.with_timezone(&zone);
            let begin = |day: NaiveDate| moment(zone, day.and_time(NaiveTime::MIN));
            let first = |month| begin(NaiveDate::from_ymd_opt(here.year(), month, 1).unwrap());
            let quarter = first(here.month0() / 3 * 3 + 1);
            assert_eq!(long, (first(1), quarter, first(here.month())), "{here}");
            let today = here.date_naive();
            let monday = today - Duration::days(here.weekday().num_days_from_monday().into());
            assert_eq!(days, (begin(monday), begin(today)), "{here}");
            let ahead = Duration::seconds(here.offset().fix().local_minus_utc().into());
            let seconds = |keep: i64| {
                let wall = (of + ahead).timestamp();
                DateTime::from_timestamp(wall - wall.rem_euclid(keep), 0).unwrap() - ahead
            };
            assert_eq!(short, (seconds(3_600), seconds(60), seconds(1)), "{here}");
        }
    })
    .await;
}

#[tokio::test]
async fn years_and_days_are_looked_up_on_the_sites_calendar() {
    in_zones(&[Tz::UTC, Tz::America__New_York], async |site, zone| {
        let eve = event(site, moment(zone, "2023-12-31T23:59:59".parse().unwrap())).await;
        let first = event(site, moment(zone, "2024-01-01T00:00:00".parse().unwrap())).await;
        let last = event(site, moment(zone, "2024-12-31T23:59:59".parse().unwrap())).await;
        let check = async |rows: hulse::models::QuerySet<Event>, expected: &[&Event]| {
            let sql = rows.sql(site).unwrap().text;
            let found = rows.all(site).await.unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{sql}");
            sql
        };
        let all = Event::objects;
        let sql = check(all().filter(|e| e.started().year().eq(2024)), &[&first, &last]).await;
        assert!(sql.contains("BETWEEN") && !sql.contains("ZONE"), "an index answers it: {sql}");
        check(all().filter(|e| e.started().year().lt(2024)), &[&eve]).await;
        check(all().filter(|e| e.started().year().lte(2024)), &[&eve, &first, &last]).await;
        check(all().filter(|e| e.started().year().gt(2023)), &[&first, &last]).await;
        check(all().exclude(|e| e.started().year().gte(2024)), &[&eve]).await;
        check(all().exclude(|e| e.ended().year().eq(2024)), &[&eve, &first, &last]).await;
        let day = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();
        check(all().filter(|e| e.started().date().eq(day)), &[&first]).await;
        check(all().filter(|e| e.started().hour().eq(23)), &[&eve, &last]).await;
        check(all().filter_by("started__year", "2024"), &[&first, &last]).await;
        check(all().filter_by("started__date", "2023-12-31"), &[&eve]).await;
        check(all().filter_by("started__gte", "2024-01-01"), &[&first, &last]).await;
        check(all().filter_by("started", "2023-12-31 23:59:59"), &[&eve]).await;
        check(all().filter_by("started__gte", "2024-12-31T23:59:59+14:00"), &[&last]).await;
        let days = all().datetimes(|e| e.started(), Every::Year).all(site).await.unwrap();
        let begin = |text: &str| moment(zone, text.parse().unwrap());
        assert_eq!(days, [begin("2023-01-01T00:00:00"), begin("2024-01-01T00:00:00")]);
    })
    .await;
}

#[tokio::test]
async fn the_latest_is_the_last_by_what_the_model_says() {
    in_zones(&[Tz::UTC], async |site, _| {
        let none = Event::objects().latest(site).await.unwrap_err();
        assert!(none.is_does_not_exist());
        let (two, one) =
            (event(site, at("2024-02-02T00:00:00Z")).await, at("2024-01-01T00:00:00Z"));
        let one = event(site, one).await;
        let three = event(site, at("2024-03-03T00:00:00Z")).await;
        let all = Event::objects;
        assert_eq!(all().latest(site).await.unwrap(), three);
        assert_eq!(all().earliest(site).await.unwrap(), one);
        assert_eq!(all().exclude(|e| e.id().eq(three.id)).latest(site).await.unwrap(), two);
        let backwards = all().reverse().all(site).await.unwrap();
        assert_eq!(backwards, [three.clone(), one.clone(), two.clone()]);
        let by = all().order_by(|e| [e.started().desc(), e.id().asc()]);
        assert_eq!(by.clone().reverse().first(site).await.unwrap(), Some(one.clone()));
        assert_eq!(by.clone().reverse().reverse().first(site).await.unwrap(), Some(three));
        assert_eq!(by.last(site).await.unwrap(), Some(one));
        for sliced in [all().limit(1).latest(site).await, all().offset(1).earliest(site).await] {
            assert!(sliced.unwrap_err().to_string().contains("after limit or offset"));
        }
        assert!(all().limit(1).reverse().all(site).await.unwrap_err().is_field());
        assert!(all().limit(1).filter(|e| e.id().gt(0)).all(site).await.unwrap_err().is_field());
    })
    .await;
}

#[tokio::test]
async fn durations_are_added_to_moments_and_lie_between_them() {
    in_zones(&[Tz::Europe__Berlin], async |site, _| {
        let started = at("2024-02-28T23:59:59.999999Z");
        let length = TimeDelta::days(1) + TimeDelta::microseconds(1);
        let made = Event { started, length, ended: Some(started + length), ..Default::default() };
        Event::create(site, made).await.unwrap();
        let old = Event { started: at("1969-12-31T23:59:59.5Z"), ..Default::default() };
        Event::create(site, Event { length: -TimeDelta::milliseconds(600), ..old }).await.unwrap();

        let computed = Event::objects().values(|e| {
            let apart = e.ended() - e.started();
            (e.started() + e.length(), e.started() - TimeDelta::seconds(60), apart)
        });
        let old = at("1969-12-31T23:59:58.9Z");
        let before = at("1969-12-31T23:58:59.5Z");
        let minute = TimeDelta::seconds(60);
        let expected = [(started + length, started - minute, Some(length)), (old, before, None)];
        assert_eq!(computed.all(site).await.unwrap(), expected);
        let computed = Event::objects().values(|e| {
            let since = e.started() - at("1970-01-01T00:00:00Z");
            (since, e.length() + TimeDelta::seconds(1), e.length() - e.length())
        });
        let since = started - DateTime::<Utc>::UNIX_EPOCH;
        let computed = computed.first(site).await.unwrap().unwrap();
        assert_eq!(computed, (since, length + TimeDelta::seconds(1), TimeDelta::zero()));

        let all = Event::objects;
        let count = async |rows: hulse::models::QuerySet<Event>| rows.count(site).await.unwrap();
        let same = all().filter(|e| e.ended().eq(e.started() + e.length()));
        assert_eq!(count(same).await, 1, "a moment computed is the moment stored");
        assert_eq!(
            count(all().filter(|e| (e.ended() - e.started()).gt(TimeDelta::zero()))).await,
            1
        );
        assert_eq!(count(all().filter(|e| e.started().lt(now() - TimeDelta::days(7)))).await, 2);
        assert_eq!(count(all().filter(|e| e.started().gt(now() - TimeDelta::days(7)))).await, 0);
        assert_eq!(count(all().exclude(|e| (e.ended() - e.started()).eq(length))).await, 1);
        let longest = all().aggregate(site, |e| (e.ended() - e.started()).max()).await.unwrap();
        assert_eq!(longest, Some(length));
        let later = all().update(site, |e| e.started().set(e.started() + TimeDelta::hours(1)));
        assert_eq!(later.await.unwrap(), 2);
        let moved = all().values(|e| e.started()).first(site).await.unwrap();
        assert_eq!(moved, Some(started + TimeDelta::hours(1)));
        let found = all().filter(|e| e.started().eq(started + TimeDelta::hours(1)));
        assert_eq!(count(found).await, 1, "what update computed is kept as any moment is");
    })
    .await;
}
