//! `ADD`: as `COPY`, and archives are unpacked.

use super::{CASE, Case, Expect};

/// An archive in each form, with a link, an owner and a folder in it.
const ARCHIVES: &str =
    "mkdir -p pack/www/sub; echo page > pack/www/index.html; ln -s index.html pack/www/start
    ln pack/www/index.html pack/www/again; echo sub > pack/www/sub/file; chmod 750 pack/www/sub
    chown -R 33:34 pack/www; find pack -exec touch -h -d @1000000001 {} +
    for kind in tar tar.gz tar.bz2 tar.xz; do tar -C pack -caf site.$kind www; done
    rm -r pack; echo no archive > fake.tar; gzip -n < hello.txt > hello.gz";

pub const CASES: &[Case] = &[
    Case {
        name: "ADD a file and a folder",
        dockerfile: "FROM busybox\nADD hello.txt /a\nADD src /b/\n",
        ..CASE
    },
    Case {
        name: "ADD tar",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD site.tar /a/\n",
        ..CASE
    },
    Case {
        name: "ADD tar.gz",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD site.tar.gz /a\n",
        ..CASE
    },
    Case {
        name: "ADD tar.bz2",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD site.tar.bz2 /a/\n",
        ..CASE
    },
    Case {
        name: "ADD tar.xz",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD site.tar.xz /a/\n",
        ..CASE
    },
    Case {
        name: "ADD several archives and a file",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD site.tar.xz hello.txt /a/\n",
        ..CASE
    },
    Case {
        name: "ADD what is no archive",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD fake.tar hello.gz /a/\n",
        ..CASE
    },
    Case {
        name: "ADD --chown of an archive",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD --chown=5:6 site.tar.gz /a/\n",
        ..CASE
    },
    Case {
        name: "ADD an archive into what is there",
        prepare: "mkdir -p old/deep; echo new > old/deep/file; tar -cf over.tar old; rm -r old",
        dockerfile: "FROM busybox\nADD over.tar /\n",
        ..CASE
    },
    Case {
        name: "COPY leaves archives alone",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nCOPY site.tar.gz /a/\n",
        ..CASE
    },
    Case {
        name: "ADD --unpack",
        prepare: ARCHIVES,
        dockerfile: "FROM busybox\nADD --unpack=false site.tar /a/\nRUN tar -tf /a/site.tar | sort > /list; rm -r /a\nADD --unpack=true site.tar /b/\n",
        expect: Expect::Lines {
            why: "buildah 1.28 does not know --unpack",
            lines: &[
                r#"/list 100644 0:0 "www/\nwww/again\nwww/index.html\nwww/start\nwww/sub/\nwww/sub/file\n""#,
                r#"/b 040755 0:0"#,
                r#"/b/www 040755 33:34 @1000000001"#,
                r#"/b/www/again 100644 33:34 @1000000001 "page\n""#,
                r#"/b/www/index.html 100644 33:34 @1000000001 "page\n" = /b/www/again"#,
                r#"/b/www/start 120777 33:34 @1000000001 -> index.html"#,
                r#"/b/www/sub 040750 33:34 @1000000001"#,
                r#"/b/www/sub/file 100644 33:34 @1000000001 "sub\n""#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "FROM scratch with an archive",
        prepare: ARCHIVES,
        dockerfile: "FROM scratch\nADD site.tar /\nCMD [\"/a\"]\n",
        expect: super::stages::SCRATCH,
        ..CASE
    },
];
