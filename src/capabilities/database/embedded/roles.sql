-- Roles, database and grants, brought to the wanted state on every start. Idempotent; start.sh runs it over a
-- private socket before anything listens on TCP, with -v owner= app= backup= database= (validated names).
-- Passwords are read here from the mounted files, so they are on no command line; the server keeps SCRAM
-- verifiers only, and terse errors never quote the statement.
\set ON_ERROR_STOP on
\set VERBOSITY terse
\set SHOW_CONTEXT never
\set owner_password `cat /etc/his/secrets/owner/password`
\set app_password `cat /etc/his/secrets/app/password`
\set backup_password `cat /etc/his/secrets/backup/password`
SET client_min_messages = warning;
SET password_encryption = 'scram-sha-256';

-- A renamed database or owner would look to the application like an empty hospital. Refuse instead.
SELECT count(*) FILTER (WHERE datname <> :'database') > 0 AS other_database,
       coalesce(string_agg(datname, ', ') FILTER (WHERE datname <> :'database'), '') AS other_names,
       count(*) FILTER (WHERE datname = :'database') > 0 AS database_exists,
       count(*) FILTER (WHERE datname = :'database' AND r.rolname <> :'owner') > 0 AS other_owner,
       coalesce(max(r.rolname) FILTER (WHERE datname = :'database'), '') AS owner_was
  FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba
 WHERE NOT datistemplate AND datname <> 'postgres' \gset
\if :other_database
  \warn 'his-postgres: refused: this volume holds the database ':other_names', but PGDATABASE_NAME is ':database'. Set PGDATABASE_NAME back, or start with an empty volume.'
  DO $$ BEGIN RAISE EXCEPTION 'database name changed'; END $$;
\endif
\if :other_owner
  \warn 'his-postgres: refused: database ':database' is owned by role ':owner_was', but /etc/his/secrets/owner/username says ':owner'. Set the username back.'
  DO $$ BEGIN RAISE EXCEPTION 'owner name changed'; END $$;
\endif

SELECT format('CREATE ROLE %I', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
\if :database_exists
\else
  CREATE DATABASE :"database" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
\endif
\connect :database
SET client_min_messages = warning;
SET password_encryption = 'scram-sha-256';

BEGIN;
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'app') AS app_is_new \gset
SELECT format('CREATE ROLE %I', name)
  FROM unnest(ARRAY[:'app', :'backup', 'his_clients']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- NOBYPASSRLS except for backup: pg_dump refuses tables whose row security would hide rows from it.
ALTER ROLE his_clients NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD NULL;
ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'app_password';
ALTER ROLE :"backup" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS PASSWORD :'backup_password';

-- Only these three pass pg_hba.conf; a role whose Secret was renamed away is out at the next start.
SELECT format('REVOKE his_clients FROM %I', r.rolname)
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
 WHERE g.rolname = 'his_clients' AND r.rolname NOT IN (:'owner', :'app', :'backup') \gexec
GRANT his_clients TO :"owner", :"app", :"backup";

-- Nobody by default: not this database, not the two that initdb made, not the schema.
REVOKE ALL ON DATABASE :"database", postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"app", :"backup";
SELECT 'REVOKE ALL ON SCHEMA public FROM PUBLIC' WHERE to_regnamespace('public') IS NOT NULL \gexec

-- backup reads everything and writes nothing. Before PostgreSQL 19 pg_read_all_data leaves out large objects
-- (HAPI FHIR and other Hibernate schemas keep documents there); lo_compat_privileges opens them to this role alone.
GRANT pg_read_all_data TO :"backup";
ALTER ROLE :"backup" SET default_transaction_read_only = on;
ALTER ROLE :"backup" SET lo_compat_privileges = on;

-- app: data, never definitions. Default privileges reach everything that owner makes from here on.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT USAGE ON SCHEMAS TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT SELECT, USAGE, UPDATE ON SEQUENCES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" GRANT EXECUTE ON FUNCTIONS TO :"app";
SELECT format('GRANT USAGE ON SCHEMA public TO %I', :'app') WHERE to_regnamespace('public') IS NOT NULL \gexec

-- What exists already matters only to an app role that is new (renamed in its Secret). Granting it again on every
-- start would undo a migration that took a right away, such as UPDATE on an append-only audit table.
\if :app_is_new
  SELECT format(statement, n.nspname, :'app')
    FROM pg_namespace n
    JOIN pg_roles r ON r.oid = n.nspowner,
         unnest(ARRAY['GRANT USAGE ON SCHEMA %I TO %I',
                      'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I',
                      'GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA %I TO %I',
                      'GRANT EXECUTE ON ALL ROUTINES IN SCHEMA %I TO %I']) AS statement
   WHERE r.rolname IN (:'owner', 'pg_database_owner') \gexec
\endif
COMMIT;
