//! The periods of a quota: days, weeks or months of a time zone, by its calendar or counted from a day on. They follow
//! one another without a gap, so that every instant is in exactly one.

use std::sync::LazyLock;

use jiff::{
    Span, Timestamp,
    civil::{DateTime, date},
    tz::{TimeZone, TimeZoneDatabase},
};

/// The zones that every build has, whatever the machine knows: no two nodes of one version disagree about a boundary.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

const DAY_S: i64 = 86_400;

/// How long a period is, by the clocks of its zone: a day in which they are changed has 23 or 25 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Day,
    Week,
    Month,
}

/// What begins and ends periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periods {
    unit: Unit,
    zone: TimeZone,
    /// One period begins here, by the zone's clocks, and every other so many units before or after it.
    origin: DateTime,
}

/// From a second on and until another, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub unit: Unit,
    pub from: i64,
    pub until: i64,
}

/// The zone of an IANA name, such as `Europe/Berlin`, in any case; `None`: there is none.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    // Jiff's word for "not known".
    ZONES.get(name).ok().filter(|zone| !zone.is_unknown())
}

impl Periods {
    /// Those of the calendar; weeks begin on Monday.
    pub fn calendar(unit: Unit, zone: TimeZone) -> Self {
        let origin = match unit {
            Unit::Day | Unit::Month => date(1970, 1, 1),
            Unit::Week => date(1970, 1, 5),
        };
        Self { unit, zone, origin: origin.at(0, 0, 0, 0) }
    }

    /// Those that are counted from this second on, and before it alike, at the same time of day. A month that has no such
    /// day ends on its last: what began on January 31st begins again on February 28th and March 31st. A time of day that
    /// comes twice, as clocks are put back, is the first of the two, also where this second is in the other.
    pub fn anniversary(unit: Unit, zone: TimeZone, start: i64) -> Self {
        let origin = zone.to_datetime(instant(start));
        Self { unit, zone, origin }
    }

    /// The one that this second is in.
    pub fn at(&self, second: i64) -> Period {
        self.find(second).1
    }

    /// The same with the ones before and after it.
    pub fn around(&self, second: i64) -> [Period; 3] {
        let (number, present) = self.find(second);
        // One that ends as it begins is none: its day was left out. Nothing is before the first or after the last.
        let from = (1..=2).map(|back| self.start(number - back)).find(|from| *from < present.from);
        let until = (2..=3).map(|on| self.start(number + on)).find(|until| *until > present.until);
        [
            from.map_or(present, |from| Period { from, until: present.from, ..present }),
            present,
            until.map_or(present, |until| Period { from: present.until, until, ..present }),
        ]
    }

    /// The one that this second is in, and which it is.
    fn find(&self, second: i64) -> (i64, Period) {
        let mut number = self.near(second);
        let second = instant(second).as_second();
        let (mut from, mut until) = (self.start(number), self.start(number + 1));
        // Clocks that were put back, or a month's end, can be one off.
        while from > second {
            number -= 1;
            (from, until) = (self.start(number), from);
        }
        while until <= second {
            number += 1;
            (from, until) = (until, self.start(number + 1));
        }
        (number, Period { unit: self.unit, from, until })
    }

    /// About which period a second is in.
    fn near(&self, second: i64) -> i64 {
        let (origin, now) = (self.origin.date(), self.zone.to_datetime(instant(second)).date());
        let days = || origin.until(now).map_or(0, |span| i64::from(span.get_days()));
        match self.unit {
            Unit::Day => days(),
            Unit::Week => days().div_euclid(7),
            Unit::Month => {
                let years = i64::from(now.year()) - i64::from(origin.year());
                years * 12 + i64::from(now.month()) - i64::from(origin.month())
            }
        }
    }

    /// The second in which a period begins. One whose time of day is left out, as clocks are put forward, begins as much
    /// later; of a time that comes twice it is the first.
    fn start(&self, number: i64) -> i64 {
        let span = match self.unit {
            Unit::Day => Span::new().try_days(number),
            Unit::Week => Span::new().try_weeks(number),
            Unit::Month => Span::new().try_months(number),
        };
        let start = span.and_then(|span| self.origin.checked_add(span));
        // The zone is borrowed: to count who shares it, every call of a node's threads would write to one place.
        match start.and_then(|start| self.zone.to_timestamp(start)) {
            Ok(start) => start.as_second(),
            // Before the first year or after the last.
            Err(_) if number < 0 => i64::MIN,
            Err(_) => i64::MAX,
        }
    }
}

impl Period {
    pub fn holds(&self, second: i64) -> bool {
        (self.from..self.until).contains(&second)
    }

    /// By which Redis knows the period: the unit and when it begins. Periods of one unit that begin at the same second are
    /// one: a plan that changes from one to the other keeps what was counted.
    pub fn name(&self) -> String {
        let unit = match self.unit {
            Unit::Day => "day",
            Unit::Week => "week",
            Unit::Month => "month",
        };
        match self.from.rem_euclid(DAY_S) {
            // As those of the calendar in UTC were always called.
            0 => format!("{unit}{}", self.from / DAY_S),
            _ => format!("{unit}@{}", self.from),
        }
    }
}

/// The nearest that a calendar can name.
fn instant(second: i64) -> Timestamp {
    let bounded = second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(bounded).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use jiff::{Zoned, civil::Weekday};
    use proptest::{prelude::*, sample::select};

    use super::*;

    const UNITS: [Unit; 3] = [Unit::Day, Unit::Week, Unit::Month];
    /// Clocks that change at midnight, by half an hour, by a whole day, in Ramadan, or never.
    const ODD: [&str; 14] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/Havana",
        "America/St_Johns",
        "Africa/Cairo",
        "Africa/Casablanca",
        "Asia/Beirut",
        "Asia/Kathmandu",
        "Asia/Tehran",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Chatham",
    ];

    fn zone(name: &str) -> TimeZone {
        time_zone(name).expect(name)
    }

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().expect(text).as_second()
    }

    fn begin(period: &Period, zone: &TimeZone) -> Zoned {
        instant(period.from).to_zoned(zone.clone())
    }

    /// Where the periods around a second begin, and the last ends.
    fn bounds(periods: &Periods, second: i64) -> [String; 4] {
        let [before, present, after] = periods.around(second);
        [before.from, present.from, present.until, after.until].map(|at| instant(at).to_string())
    }

    fn any_periods() -> impl Strategy<Value = Periods> {
        let start =
            prop_oneof![0..4_000_000_000_i64, (1970..2090_i16, 1..=12_i8).prop_map(month_end)];
        (select(&UNITS[..]), select(&ODD[..]), proptest::option::of(start)).prop_map(
            |(unit, name, start)| match start {
                Some(start) => Periods::anniversary(unit, zone(name), start),
                None => Periods::calendar(unit, zone(name)),
            },
        )
    }

    /// Some seconds before or after the clocks of a zone are changed, where they are, or any.
    fn near_a_change(name: &str) -> impl Strategy<Value = i64> + use<> {
        let zone = zone(name);
        (0..4_000_000_000_i64, -3 * 3600..3 * 3600_i64).prop_map(move |(second, off)| {
            let change = zone.following(instant(second)).next();
            change.map_or(second, |change| change.timestamp().as_second()) + off
        })
    }

    fn month_end((year, month): (i16, i8)) -> i64 {
        let last = date(year, month, 1).last_of_month().at(23, 30, 0, 0);
        last.to_zoned(TimeZone::UTC).expect("a time").timestamp().as_second()
    }

    proptest! {
        #[test]
        fn every_instant_is_in_one_period_and_each_begins_where_the_last_ended(
            periods in any_periods(),
            second in 0..4_102_444_800_i64,
        ) {
            let [before, present, after] = periods.around(second);
            prop_assert!(before.from < before.until && present.holds(second));
            prop_assert!((before.until, present.until) == (present.from, after.from));
            prop_assert!(after.from < after.until);
            // Whichever of their instants is asked for.
            for period in [before, present, after] {
                for at in [period.from, period.from.midpoint(period.until), period.until - 1] {
                    prop_assert_eq!(periods.at(at), period);
                }
            }
            let days = (present.until - present.from + DAY_S / 2) / DAY_S;
            let fits = match present.unit {
                Unit::Day => (0..=2).contains(&days), // a day was left out in Apia
                Unit::Week => (6..=8).contains(&days),
                Unit::Month => (27..=32).contains(&days),
            };
            prop_assert!(fits, "{days} days");
        }

        #[test]
        fn a_calendars_periods_begin_with_its_days(
            unit in select(&UNITS[..]),
            name in select(&ODD[..]),
            second in 0..4_102_444_800_i64,
        ) {
            let zone = zone(name);
            let period = Periods::calendar(unit, zone.clone()).at(second);
            let begin = begin(&period, &zone);
            prop_assert_eq!(begin.clone(), begin.start_of_day().expect("a day"));
            match unit {
                Unit::Day => prop_assert_eq!(begin.date(), instant(second).to_zoned(zone).date()),
                Unit::Week => prop_assert_eq!(begin.weekday(), Weekday::Monday),
                Unit::Month => prop_assert_eq!(begin.day(), 1),
            }
        }

        #[test]
        fn months_from_a_day_on_begin_on_that_day_or_on_their_last(
            start in (1970..2090_i16, 1..=12_i8).prop_map(month_end),
            second in 0..4_102_444_800_i64,
        ) {
            let periods = Periods::anniversary(Unit::Month, TimeZone::UTC, start);
            let begin = begin(&periods.at(second), &TimeZone::UTC);
            let day = instant(start).to_zoned(TimeZone::UTC).day();
            prop_assert_eq!(begin.day(), day.min(begin.days_in_month()));
            prop_assert!(periods.at(start).from == start);
        }

        #[test]
        fn one_begins_at_its_start_or_where_that_time_of_day_came_before(
            unit in select(&UNITS[..]),
            (name, start) in select(&ODD[..]).prop_flat_map(|name| (Just(name), near_a_change(name))),
        ) {
            let zone = zone(name);
            let from = Periods::anniversary(unit, zone.clone(), start).at(start).from;
            let clock = |second| zone.to_datetime(instant(second));
            prop_assert_eq!(clock(from), clock(start));
            if from != start {
                prop_assert!(from < start && start - from <= DAY_S);
                prop_assert!(zone.to_ambiguous_timestamp(clock(start)).is_ambiguous());
            }
        }

        #[test]
        fn no_second_is_beyond_what_can_be_asked(periods in any_periods(), second in any::<i64>()) {
            let around = periods.around(second);
            prop_assert!(around.iter().all(|period| period.from <= period.until));
        }
    }

    #[test]
    fn a_day_in_which_clocks_change_has_23_or_25_hours() {
        let berlin = Periods::calendar(Unit::Day, zone("Europe/Berlin"));
        let hours = |text| {
            let day = berlin.at(second(text));
            (day.until - day.from) / 3600
        };
        assert_eq!(hours("2027-03-28T12:00:00Z"), 23);
        assert_eq!(hours("2027-10-31T12:00:00Z"), 25);
        assert_eq!(hours("2027-06-01T12:00:00Z"), 24);
        // Where clocks skip midnight, the day begins at one; where they skip a day, there is none.
        let cairo = Periods::calendar(Unit::Day, zone("Africa/Cairo"));
        let day = cairo.at(second("2026-04-24T12:00:00Z"));
        assert_eq!(begin(&day, &zone("Africa/Cairo")).hour(), 1);
        let apia = Periods::calendar(Unit::Day, zone("Pacific/Apia"));
        assert_eq!(
            bounds(&apia, second("2011-12-30T12:00:00Z")),
            [
                "2011-12-29T10:00:00Z",
                "2011-12-30T10:00:00Z",
                "2011-12-31T10:00:00Z",
                "2012-01-01T10:00:00Z"
            ]
        );
    }

    #[test]
    fn a_month_from_its_last_day_on_is_never_shorter_for_good() {
        let start = second("2027-01-31T09:30:00Z");
        let utc = Periods::anniversary(Unit::Month, TimeZone::UTC, start);
        assert_eq!(
            bounds(&utc, second("2027-03-01T00:00:00Z")),
            [
                "2027-01-31T09:30:00Z",
                "2027-02-28T09:30:00Z",
                "2027-03-31T09:30:00Z",
                "2027-04-30T09:30:00Z"
            ]
        );
        // The same time of day in its zone, and before the start alike.
        let berlin = Periods::anniversary(Unit::Month, zone("Europe/Berlin"), start);
        assert_eq!(
            bounds(&berlin, second("2026-11-01T00:00:00Z")),
            [
                "2026-09-30T08:30:00Z",
                "2026-10-31T09:30:00Z",
                "2026-11-30T09:30:00Z",
                "2026-12-31T09:30:00Z"
            ]
        );
        let weekly = Periods::anniversary(Unit::Week, TimeZone::UTC, start);
        assert_eq!(weekly.at(start + 7 * DAY_S - 1).from, start);
        assert_eq!(weekly.at(start + 7 * DAY_S).from, start + 7 * DAY_S);
    }

    #[test]
    fn one_from_the_second_of_two_equal_times_on_begins_at_the_first() {
        let berlin = |start| Periods::anniversary(Unit::Day, zone("Europe/Berlin"), second(start));
        let begins = |start| instant(berlin(start).at(second(start)).from).to_string();
        assert_eq!(begins("2027-10-31T00:30:00Z"), "2027-10-31T00:30:00Z");
        assert_eq!(begins("2027-10-31T01:30:00Z"), "2027-10-31T00:30:00Z");
        assert_eq!(begins("2027-10-31T02:00:00Z"), "2027-10-31T02:00:00Z");
    }

    #[test]
    fn a_period_is_called_by_when_it_begins() {
        let name = |periods: Periods, at| periods.at(second(at)).name();
        let utc = |unit| Periods::calendar(unit, TimeZone::UTC);
        assert_eq!(name(utc(Unit::Day), "1970-01-02T03:00:00Z"), "day1");
        assert_eq!(name(utc(Unit::Week), "1970-01-05T00:00:00Z"), "week4");
        assert_eq!(name(utc(Unit::Month), "1970-02-28T00:00:00Z"), "month31");
        let berlin = Periods::calendar(Unit::Month, zone("Europe/Berlin"));
        assert_eq!(name(berlin, "1970-02-28T00:00:00Z"), "month@2674800");
        let start = second("2027-03-01T00:00:00Z");
        let same = Periods::anniversary(Unit::Month, TimeZone::UTC, start);
        assert_eq!(same.at(start).name(), utc(Unit::Month).at(start).name());
    }

    #[test]
    fn only_names_of_zones_are_zones() {
        for name in
            ["", "Berlin", "Europe/Berlin ", "+02:00", "CET-1CEST", "Etc/Unknown", "../UTC", "\0"]
        {
            assert!(time_zone(name).is_none(), "{name:?}");
        }
        for (name, known) in [("europe/berlin", "Europe/Berlin"), ("utc", "UTC"), ("CET", "CET")] {
            assert_eq!(zone(name).iana_name(), Some(known));
        }
    }
}
