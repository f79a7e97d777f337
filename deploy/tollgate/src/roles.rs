//! The three roles and the one login, made outside the migrations because managed databases often want
//! them made by hand.

/// SQL that makes what is missing and changes nothing else; safe to run again. An advisory lock keeps two
/// machines from racing. The login has no rights of its own: it takes them with `set role`.
///
/// `login` is a checked name (see [`checked_login`]), so it needs no quotes.
pub(crate) fn sql(login: &str) -> String {
    format!(
        "\
begin;
select pg_advisory_xact_lock(7310017310010);
do $$
declare name text;
begin
    foreach name in array array['tollgate_owner', 'tollgate_app', 'tollgate_system'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nologin nosuperuser nobypassrls', name);
        end if;
    end loop;
    if not exists (select from pg_roles where rolname = '{login}') then
        create role {login} login noinherit nosuperuser nobypassrls nocreatedb nocreaterole;
    end if;
end $$;
grant tollgate_owner, tollgate_app, tollgate_system to {login};
commit;
"
    )
}

/// Reads a login's name from the command line.
pub(crate) fn checked_login(name: &str) -> Result<String, String> {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.len() <= 63
        && name
            .chars()
            .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_');
    if plain {
        Ok(name.to_owned())
    } else {
        Err("a login is a-z, 0-9 and _, at most 63 of them".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_would_need_quotes_is_refused() {
        assert_eq!(checked_login("tollgate_2"), Ok("tollgate_2".to_owned()));
        for name in ["", "2a", "a b", "a\"b", "a'b", "A", "a$$b"] {
            assert!(checked_login(name).is_err(), "{name}");
        }
    }
}
