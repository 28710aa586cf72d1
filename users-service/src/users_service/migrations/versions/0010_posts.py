"""Posts with their tags, and a search that an index serves."""

from alembic import op

from shared.data.placement.migration import follow_writes, shared_tables
from shared.data.policies import enable_tenancy

revision = "0010"
down_revision = "0009"

# As the owner, whose policy is `true`: then `@@` may use the index (PostgreSQL manual, "Row Security Policies"). Whom
# the rows belong to is said by the tenant's lexeme, which the transaction's tenant alone decides.
_MATCHING_POSTS = """
    CREATE FUNCTION public.matching_posts(words text, language text) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
    DECLARE
        tenant text := NULLIF(current_setting('app.tenant_id', true), '');
        wanted tsquery := websearch_to_tsquery(language::regconfig, words) || websearch_to_tsquery('simple', words);
    BEGIN
        IF tenant IS NULL OR numnode(wanted) = 0 THEN
            RETURN;
        END IF;
        RETURN QUERY EXECUTE format(
            'SELECT id FROM %I.posts WHERE search @@ $1 AND tenant_id = $2', current_schema()
        ) USING quote_literal('tenant ' || tenant)::tsquery && wanted, tenant::uuid;
    END $$
"""


def upgrade() -> None:
    op.execute("""
        CREATE TABLE posts (
            tenant_id uuid NOT NULL,
            id uuid NOT NULL,
            author_id uuid NOT NULL,
            title text NOT NULL,
            content text NOT NULL,
            tags text[] NOT NULL,
            status text NOT NULL,
            language regconfig NOT NULL,
            search tsvector NOT NULL GENERATED ALWAYS AS (
                setweight(to_tsvector(language, title), 'A') || setweight(to_tsvector('simple', title), 'A')
                || to_tsvector(language, content) || to_tsvector('simple', content)
                || array_to_tsvector(ARRAY['tenant ' || tenant_id::text])
            ) STORED,
            version bigint NOT NULL DEFAULT 1,
            published_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_posts PRIMARY KEY (tenant_id, id),
            CONSTRAINT ck_posts_status CHECK (status IN ('draft', 'published')),
            CONSTRAINT ck_posts_published_at CHECK (status = 'draft' OR published_at IS NOT NULL)
        )
    """)
    op.execute("CREATE INDEX ix_posts_tenant_id_created_at_id ON posts (tenant_id, created_at, id)")
    op.execute("CREATE INDEX ix_posts_tenant_id_author_id_created_at_id ON posts (tenant_id, author_id, created_at, id)")
    op.execute("CREATE INDEX ix_posts_search ON posts USING gin (search)")
    op.execute("""
        CREATE TABLE post_tags (
            tenant_id uuid NOT NULL,
            post_id uuid NOT NULL,
            tag text NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT pk_post_tags PRIMARY KEY (tenant_id, post_id, tag),
            CONSTRAINT fk_post_tags_tenant_id FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id)
                ON DELETE CASCADE
        )
    """)
    op.execute(
        "CREATE INDEX ix_post_tags_tenant_id_tag_created_at_post_id ON post_tags (tenant_id, tag, created_at, post_id)"
    )
    op.execute("""
        CREATE TABLE post_removals (
            tenant_id uuid NOT NULL,
            post_id uuid NOT NULL,
            author_id uuid NOT NULL,
            removed_by uuid NOT NULL,
            reason text NOT NULL,
            removed_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_post_removals PRIMARY KEY (tenant_id, post_id)
        )
    """)
    for table, key in (("posts", ("id",)), ("post_tags", ("post_id", "tag")), ("post_removals", ("post_id",))):
        enable_tenancy(op, table, service="users")
        follow_writes(op, table, *key)
    _search()


@shared_tables
def _search() -> None:
    op.execute(_MATCHING_POSTS)
