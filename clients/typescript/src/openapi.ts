// Made from openapi.json by `npm run generate`: do not edit.
export interface paths {
    "/api/v1/agents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which agents are there?
         * @description Those of agents.yaml in its order, then those it does not name.
         */
        get: operations["agents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One agent, and when it is due
         * @description With its next five due times and the schema of its input.
         */
        get: operations["agent"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Let an agent's schedule rest
         * @description Until it is resumed, also over restarts. It can still be triggered.
         */
        post: operations["pause_agent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Let an agent's schedule go on
         * @description From now: what was due meanwhile is not made up for.
         */
        post: operations["resume_agent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * An agent's runs
         * @description The latest first, a page at a time; due times that had no run are among them.
         */
        get: operations["agent_runs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/budgets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Budgets, and how they stand
         * @description Used, held, left, projection and burn-down of every budget in its present period.
         */
        get: operations["budgets"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/chat": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Ask a model
         * @description Choose a model by the rules and the workspace's policy, fit the context to it, and stream its answer.
         */
        post: operations["chat"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/chat/{request_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Stop a resumable answer
         * @description Leaving does not stop a resumable answer; this does.
         */
        delete: operations["stop_chat"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/chat/{request_id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read on where a resumable answer was left
         * @description The rest of an answer that was asked for with `resumable: true`: what was missed at once, then as it comes.
         */
        get: operations["resume_chat"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/chunks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Store chunks a front end made
         * @description Answered once they can be searched. All of it happens or nothing.
         */
        post: operations["put_chunks"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/dashboard/link": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Let a browser in
         * @description A path that opens the dashboard once, within two minutes. `llm-sidecar dashboard` asks for it.
         */
        post: operations["dashboard_link"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/dashboard/sign-out": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * End this browser's session
         * @description For the page: ends the session of the cookie that came along.
         */
        post: operations["sign_out"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/entities": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What does the workspace know of?
         * @description By name and words with `q`; else all, the most mentioned first, a page at a time. `hops` adds neighbours.
         */
        get: operations["entities"];
        put?: never;
        /**
         * Store entities and relations
         * @description Answered once they can be found. All of it happens or nothing; sending the same again changes nothing.
         */
        post: operations["put_entities"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/entities/extract": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Find entities in a text
         * @description By a local model where one answers, else by patterns; never by a cloud model. Answered once they are stored.
         */
        post: operations["extract_entities"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/entities/{entity_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One entity and what is around it
         * @description With who speaks of it, and its neighbours up to `hops` away.
         */
        get: operations["entity"];
        put?: never;
        post?: never;
        /**
         * Forget an entity
         * @description Its relations go with it. What is read from code comes back when its file is indexed again.
         */
        delete: operations["delete_entity"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What happens, live
         * @description Begins with now: what happened before is asked for at the other routes.
         */
        get: operations["events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/explain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What would a chat do?
         * @description Every rule's verdict, what the policy removed, the fit and the cost of each candidate. No model is called.
         */
        post: operations["explain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/explain/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What would other rules have done?
         * @description The logged requests' routing facts under another routing.yaml: which models and dollars change. Nothing is
         *     called.
         */
        post: operations["replay"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How is each part?
         * @description Every part with its status, the reason and the remedy. 200 also where parts are not well: it says so.
         */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/index": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which folders are indexed?
         * @description Each with its latest run since the sidecar started.
         */
        get: operations["index_list"];
        put?: never;
        /**
         * Index a folder
         * @description Reads what changed since the last time. Where the folder is being indexed already, this joins in. The run goes on
         *     when its listener leaves.
         */
        post: operations["index_folder"];
        /**
         * Forget a folder, or all of a workspace's index
         * @description Ends its run and its watch first. Without `path` the chunks that front ends stored go as well.
         */
        delete: operations["index_drop"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/index/stop": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * End the run over a folder, and its watch
         * @description What is indexed stays, and the next run goes on from there.
         */
        post: operations["index_stop"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which keys are there?
         * @description Oldest first, revoked ones too; never a key itself.
         */
        get: operations["keys"];
        put?: never;
        /**
         * Make a key for a client
         * @description The answer holds the key, this once.
         */
        post: operations["create_key"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/keys/{key_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke a key
         * @description It opens nothing from now on; it stays in the list.
         */
        delete: operations["revoke_key"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which models are there?
         * @description Configured models in the file's order. Model servers on this machine are asked again where that is due.
         */
        get: operations["models"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/notifications": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The inbox
         * @description Newest first, a page at a time.
         */
        get: operations["notifications"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/notifications/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The inbox, live
         * @description What is posted from now on, and before that what was posted since `Last-Event-ID`.
         */
        get: operations["notification_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/notifications/read-all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Note that all were read
         * @description Of one workspace, or of all.
         */
        post: operations["notifications_read_all"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/notifications/{id}/archive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Put it away
         * @description It counts as read, and shows with `archived=true` alone.
         */
        post: operations["notification_archive"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/notifications/{id}/read": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Note that it was read
         * @description A second time changes nothing.
         */
        post: operations["notification_read"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/profiles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which workspaces?
         * @description The workspace profiles. Their system prompts stay in the file: `has_system_prompt` says that there is one.
         */
        get: operations["profiles"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/requests/{request_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A request and its receipt
         * @description Its attempts, its receipt (routing facts, route, context) and the feedback. No word of prompt or answer.
         */
        get: operations["get_request"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/requests/{request_id}/feedback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Say what the answer was worth
         * @description Keeps a score of 1 to 5; a second one replaces the first. Summaries compare models by it.
         */
        post: operations["give_feedback"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/rules": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which rules?
         * @description In the order they are tried; the first match wins.
         */
        get: operations["rules"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The runs of all agents
         * @description The latest first, a page at a time.
         */
        get: operations["runs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One run
         * @description Its progress, log and result, and from the ledger its models and its cost.
         */
        get: operations["run"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * End a run
         * @description Answered once it has ended.
         */
        post: operations["cancel_run"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/runs/{run_id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Watch a run
         * @description What the run has said so far, then what it says, until it is over. Leaving does not end the run.
         */
        get: operations["run_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What does the workspace know about this?
         * @description By meaning and by words at once; by words alone where the embedding model is missing.
         */
        post: operations["search"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which sessions are there?
         * @description The latest used first, a page at a time.
         */
        get: operations["sessions"];
        put?: never;
        /**
         * Start or import a session
         * @description Answered once its messages, if it comes with any, can be searched.
         */
        post: operations["create_session"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions/{session_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One session
         * @description The session with the summary of its older messages.
         */
        get: operations["session"];
        put?: never;
        post?: never;
        /**
         * Delete a session
         * @description Its messages, state and summaries go with it; what it cost stays in the ledger.
         */
        delete: operations["delete_session"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions/{session_id}/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What was said?
         * @description In the order it was said. `after` pages forwards, `before` backwards.
         */
        get: operations["session_messages"];
        put?: never;
        /**
         * Append messages
         * @description Answered once they can be searched; all are stored or none. A chat stores its own messages itself.
         */
        post: operations["append_messages"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions/{session_id}/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What is it about?
         * @description The state as it was put or captured; an empty object where there is none yet.
         */
        get: operations["session_state"];
        /**
         * Say what it is about
         * @description Replaces the whole state. Every chat of the session sees it, and it is never trimmed.
         */
        put: operations["put_session_state"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions/{session_id}/state/capture": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Let a model say what it is about
         * @description The configured summariser writes the state from the recent messages, under the workspace's policy.
         */
        post: operations["capture_session_state"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/trigger": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Run an agent now
         * @description The run goes on whether or not somebody waits for it.
         */
        post: operations["trigger"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Totals and groups
         * @description Exact sums over the rows of a time range, by up to three groupings.
         */
        get: operations["usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/usage/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The rows as a file
         * @description Every row of the range, newest first, as CSV (with a heading) or as one JSON object a line, while it is read.
         */
        get: operations["usage_export"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/usage/records": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The rows themselves
         * @description Newest first, a page at a time; no page repeats or skips a row that was there at the first.
         */
        get: operations["usage_records"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/usage/summary": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A period at a glance
         * @description The hour, day, week or month so far: against the one before, where it is heading, what costs most, what local
         *     models saved, and model against model on the same task type, people's verdicts included.
         */
        get: operations["usage_summary"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/usage/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Do the sums agree with the rows?
         * @description Adds up every row anew and compares with the roll-ups; with `repair=true`, replaces what differs.
         */
        post: operations["usage_verify"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** AgentDetail */
        AgentDetail: {
            /**
             * Agent
             * @description Which agent the entry runs.
             */
            agent: string;
            /**
             * Configured
             * @description False: agents.yaml does not name it, so it runs when it is triggered.
             */
            configured: boolean;
            /** Description */
            description: string;
            /** Enabled */
            enabled: boolean;
            /**
             * Failures
             * @description In a row.
             */
            failures: number;
            /** Input Schema */
            input_schema: {
                [key: string]: unknown;
            };
            /** Lacks */
            lacks: components["schemas"]["LackResult"][];
            latest: components["schemas"]["RunResult"] | null;
            /** Name */
            name: string;
            /** Next Due */
            next_due: string | null;
            /** Paused At */
            paused_at: string | null;
            /** Paused Because */
            paused_because: string | null;
            /** Rerun Is Safe */
            rerun_is_safe: boolean;
            /**
             * Running
             * @description Id of the run going on.
             */
            running: string | null;
            /** Schedule */
            schedule: string | null;
            /** Settings Schema */
            settings_schema: {
                [key: string]: unknown;
            };
            /**
             * Status
             * @enum {string}
             */
            status: "running" | "paused" | "incomplete" | "scheduled" | "manual";
            /**
             * Timezone
             * @description Where its schedule's times are.
             */
            timezone: string;
            /**
             * Upcoming
             * @description The next due times, UTC.
             */
            upcoming: string[];
            /** Workspace */
            workspace: string;
        };
        /** AgentList */
        AgentList: {
            /** Agents */
            agents: components["schemas"]["AgentResultItem"][];
        };
        /** AgentResultItem */
        AgentResultItem: {
            /**
             * Agent
             * @description Which agent the entry runs.
             */
            agent: string;
            /**
             * Configured
             * @description False: agents.yaml does not name it, so it runs when it is triggered.
             */
            configured: boolean;
            /** Description */
            description: string;
            /** Enabled */
            enabled: boolean;
            /**
             * Failures
             * @description In a row.
             */
            failures: number;
            /** Lacks */
            lacks: components["schemas"]["LackResult"][];
            latest: components["schemas"]["RunResult"] | null;
            /** Name */
            name: string;
            /** Next Due */
            next_due: string | null;
            /** Paused At */
            paused_at: string | null;
            /** Paused Because */
            paused_because: string | null;
            /**
             * Running
             * @description Id of the run going on.
             */
            running: string | null;
            /** Schedule */
            schedule: string | null;
            /**
             * Status
             * @enum {string}
             */
            status: "running" | "paused" | "incomplete" | "scheduled" | "manual";
            /**
             * Timezone
             * @description Where its schedule's times are.
             */
            timezone: string;
            /** Workspace */
            workspace: string;
        };
        /**
         * AnthropicBody
         * @description Anthropic's message.
         */
        AnthropicBody: {
            /**
             * Cache Control
             * @description Passed over.
             * @default null
             */
            cache_control?: {
                [key: string]: unknown;
            } | null;
            /**
             * Context Management
             * @description Passed over.
             * @default null
             */
            context_management?: {
                [key: string]: unknown;
            } | null;
            /**
             * Inference Geo
             * @description Passed over: the workspace's policy says where.
             * @default null
             */
            inference_geo?: string | null;
            /** Max Tokens */
            max_tokens: number;
            /** Messages */
            messages: components["schemas"]["app__api__anthropic_schemas__Message"][];
            /**
             * Metadata
             * @description Rules may ask for `metadata.<key>`; `workspace` and `task_type` count like their headers.
             * @default null
             */
            metadata?: {
                [key: string]: unknown;
            } | null;
            /**
             * Model
             * @description `auto` or a rule's name: decide by rules. Or a model: a wish, under the workspace's policy.
             * @example auto
             */
            model: string;
            /** @default null */
            output_config?: components["schemas"]["OutputConfig"] | null;
            /**
             * Service Tier
             * @description Passed over.
             * @default null
             */
            service_tier?: string | null;
            /**
             * Stop Sequences
             * @default null
             */
            stop_sequences?: string[] | null;
            /**
             * Stream
             * @default null
             */
            stream?: boolean | null;
            /**
             * System
             * @default null
             */
            system?: string | components["schemas"]["Text"][] | null;
            /**
             * Temperature
             * @default null
             */
            temperature?: number | null;
            /**
             * @description Not sent on; what a model thinks aloud is shown if it is on.
             * @default null
             */
            thinking?: components["schemas"]["Thinking"] | null;
            /** @default null */
            tool_choice?: components["schemas"]["ToolChoice"] | null;
            /**
             * Tools
             * @default null
             */
            tools?: components["schemas"]["app__api__anthropic_schemas__Tool"][] | null;
            /**
             * Top K
             * @description Passed over; `params` of a model may set it.
             * @default null
             */
            top_k?: number | null;
            /**
             * Top P
             * @default null
             */
            top_p?: number | null;
        };
        /** AppendResult */
        AppendResult: {
            /** Count */
            count: number;
            /** First Seq */
            first_seq: number;
            /** Last Seq */
            last_seq: number;
            /**
             * Searchable
             * @description `words` where the embedding model is not installed.
             * @enum {string}
             */
            searchable: "meaning and words" | "words";
        };
        /** AttemptResult */
        AttemptResult: {
            /** Code */
            code: string | null;
            /** Latency Ms */
            latency_ms: number;
            /** Model */
            model: string;
            /** Number */
            number: number;
            /**
             * Outcome
             * @enum {string}
             */
            outcome: "ok" | "error" | "cancelled";
            /** Reason */
            reason: string | null;
        };
        /** Base64Image */
        Base64Image: {
            /** Data */
            data: string;
            /** Media Type */
            media_type: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "base64";
        };
        /**
         * BlockResult
         * @description What became of one piece of context.
         */
        BlockResult: {
            /** Id */
            id: string;
            /** Kind */
            kind: string;
            /**
             * Outcome
             * @enum {string}
             */
            outcome: "kept" | "shortened" | "summarised" | "dropped";
            /**
             * Priority
             * @description 1 is never trimmed, 2 last, 3 first.
             */
            priority: number;
            /** Reason */
            reason: string;
            /** Tokens */
            tokens: number;
        };
        /** BudgetDetail */
        BudgetDetail: {
            /** Agent */
            agent: string | null;
            /** Alert At */
            alert_at: number[];
            /**
             * Burn Down
             * @description From the start of the period until now.
             */
            burn_down: components["schemas"]["BurnPointResult"][];
            /**
             * Exhausted At
             * @description When the limit is reached at the present rate; null: not this time.
             */
            exhausted_at: string | null;
            /**
             * Key
             * @description What it is recognised by; another limit makes another key.
             */
            key: string;
            /** Left Usd */
            left_usd: number | null;
            /** Limit Usd */
            limit_usd: number;
            /**
             * On Limit
             * @enum {string}
             */
            on_limit: "alert" | "cheaper" | "local_only" | "block";
            /**
             * Period
             * @enum {string}
             */
            period: "hour" | "day" | "week" | "month" | "request";
            /** Period End */
            period_end: string | null;
            /** Period Start */
            period_start: string | null;
            /**
             * Projected Usd
             * @description At the end of the period, at the present rate.
             */
            projected_usd: number | null;
            /**
             * Reserved Usd
             * @description Held for calls that are running.
             */
            reserved_usd: number | null;
            /** Running */
            running: number;
            /** Shadow */
            shadow: boolean;
            /** Task Type */
            task_type: string | null;
            /**
             * Timezone
             * @description null: this machine's.
             */
            timezone: string | null;
            /**
             * Unknown Price
             * @description "refuse", {"count_as": dollars per million tokens}, or null.
             */
            unknown_price: unknown;
            /** Unpriced Calls */
            unpriced_calls: number;
            /** Used Fraction */
            used_fraction: number | null;
            /** Used Usd */
            used_usd: number | null;
            /**
             * Workspace
             * @description null: all of them.
             */
            workspace: string | null;
        };
        /** BudgetList */
        BudgetList: {
            /** Budgets */
            budgets: components["schemas"]["BudgetDetail"][];
        };
        /**
         * BudgetResult
         * @description A budget as the configuration has it.
         */
        BudgetResult: {
            /** Agent */
            agent: string | null;
            /** Alert At */
            alert_at: number[];
            /** Limit Usd */
            limit_usd: number;
            /** On Limit */
            on_limit: string;
            /** Period */
            period: string;
            /** Shadow */
            shadow: boolean;
            /** Task Type */
            task_type: string | null;
            /** Timezone */
            timezone: string | null;
            /** Unknown Price */
            unknown_price: unknown;
        };
        /**
         * BudgetStateResult
         * @description A budget as it stands now, in US dollars. Of a budget per request only the settings are known.
         */
        BudgetStateResult: {
            /** Agent */
            agent: string | null;
            /** Alert At */
            alert_at: number[];
            /**
             * Exhausted At
             * @description When the limit is reached at the present rate; null: not this time.
             */
            exhausted_at: string | null;
            /**
             * Key
             * @description What it is recognised by; another limit makes another key.
             */
            key: string;
            /** Left Usd */
            left_usd: number | null;
            /** Limit Usd */
            limit_usd: number;
            /**
             * On Limit
             * @enum {string}
             */
            on_limit: "alert" | "cheaper" | "local_only" | "block";
            /**
             * Period
             * @enum {string}
             */
            period: "hour" | "day" | "week" | "month" | "request";
            /** Period End */
            period_end: string | null;
            /** Period Start */
            period_start: string | null;
            /**
             * Projected Usd
             * @description At the end of the period, at the present rate.
             */
            projected_usd: number | null;
            /**
             * Reserved Usd
             * @description Held for calls that are running.
             */
            reserved_usd: number | null;
            /** Running */
            running: number;
            /** Shadow */
            shadow: boolean;
            /** Task Type */
            task_type: string | null;
            /**
             * Timezone
             * @description null: this machine's.
             */
            timezone: string | null;
            /**
             * Unknown Price
             * @description "refuse", {"count_as": dollars per million tokens}, or null.
             */
            unknown_price: unknown;
            /** Unpriced Calls */
            unpriced_calls: number;
            /** Used Fraction */
            used_fraction: number | null;
            /** Used Usd */
            used_usd: number | null;
            /**
             * Workspace
             * @description null: all of them.
             */
            workspace: string | null;
        };
        /** BurnPointResult */
        BurnPointResult: {
            /** At */
            at: string;
            /** Left Usd */
            left_usd: number;
            /** Used Usd */
            used_usd: number;
        };
        /**
         * CandidateResult
         * @description What one candidate would see and cost.
         */
        CandidateResult: {
            /**
             * Available
             * @description null: not known.
             */
            available: boolean | null;
            /**
             * Budget
             * @description Why a budget would keep it from being asked, or what a shadow would do.
             */
            budget: string | null;
            context: components["schemas"]["ContextResult"] | null;
            /**
             * Estimated Cost Usd
             * @description With the whole output reserve written; null: price unknown.
             */
            estimated_cost_usd: number | null;
            /**
             * Location
             * @enum {string}
             */
            location: "in_process" | "loopback" | "trusted" | "cloud";
            /** Model */
            model: string;
            /**
             * Origin
             * @example request
             * @example rule
             * @example fallback
             * @example local_fallback
             */
            origin: string;
            /**
             * Problem
             * @description Why the request cannot be fitted to it.
             */
            problem: string | null;
            /**
             * Resting
             * @description Why it would be skipped just now.
             */
            resting: string | null;
        };
        /** CaptureResult */
        CaptureResult: {
            /**
             * Captured By
             * @description The model that wrote it; `builtin/extractive` where none answered.
             */
            captured_by: string;
            /** State */
            state: {
                [key: string]: unknown;
            };
            /** Updated At */
            updated_at: string;
        };
        /**
         * ChatBody
         * @description A question, or a conversation, and what it may use.
         * @example {
         *       "query": "Why does this loop never end?",
         *       "task_type": "debugging",
         *       "workspace": "work"
         *     }
         * @example {
         *       "context": {
         *         "file": {
         *           "line": 1,
         *           "path": "notes.md",
         *           "text": "# Notes\n…"
         *         }
         *       },
         *       "max_output_tokens": 400,
         *       "query": "Summarise the open file.",
         *       "stream": false
         *     }
         */
        ChatBody: {
            /**
             * Contains Code
             * @description Detected when absent.
             * @default null
             */
            contains_code?: boolean | null;
            /**
             * @default {
             *       "chunks": [],
             *       "entities": [],
             *       "file": null,
             *       "history": [],
             *       "session_state": null,
             *       "stacktrace": null
             *     }
             */
            context?: components["schemas"]["Context"];
            /**
             * Max Output Tokens
             * @description Most tokens of the answer.
             * @default null
             */
            max_output_tokens?: number | null;
            /**
             * Messages
             * @description The conversation, ending with the question. Or give `query`.
             * @default null
             */
            messages?: components["schemas"]["ChatMessage"][] | null;
            /**
             * Metadata
             * @description Anything; rules may ask for `metadata.<key>`.
             * @default {}
             */
            metadata?: {
                [key: string]: unknown;
            };
            /**
             * Model
             * @description A wish: goes in front of the rule's models, still under the workspace's policy.
             * @default null
             */
            model?: string | null;
            /**
             * Query
             * @description The question. Or give `messages`.
             * @default null
             */
            query?: string | null;
            /** @default null */
            response_format?: components["schemas"]["ResponseFormat"] | null;
            /**
             * Resumable
             * @description Goes on for 30 s after the client left; `GET /chat/{request_id}/events` reads on.
             * @default false
             */
            resumable?: boolean;
            /**
             * Retrieve
             * @description Also look for what fits in the workspace's index.
             * @default false
             */
            retrieve?: boolean;
            /**
             * Session Id
             * @description A stored conversation to continue.
             * @default null
             */
            session_id?: string | null;
            /**
             * Stop
             * @description A text that ends the answer, or at most 8 of them.
             * @default null
             */
            stop?: string | string[] | null;
            /**
             * Stream
             * @description Server-Sent Events; false: one JSON object.
             * @default true
             */
            stream?: boolean;
            /**
             * Task Type
             * @description What the request is for; rules go by it.
             * @default chat
             */
            task_type?: string;
            /**
             * Temperature
             * @default null
             */
            temperature?: number | null;
            /**
             * Tool Choice
             * @default null
             */
            tool_choice?: ("auto" | "none" | "required") | components["schemas"]["NamedTool"] | null;
            /**
             * Tools
             * @default null
             */
            tools?: components["schemas"]["app__api__schemas__Tool"][] | null;
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /**
         * ChatCompletionBody
         * @description OpenAI's chat completion.
         */
        ChatCompletionBody: {
            /**
             * Frequency Penalty
             * @default null
             */
            frequency_penalty?: number | null;
            /**
             * Logit Bias
             * @default null
             */
            logit_bias?: {
                [key: string]: number;
            } | null;
            /**
             * Logprobs
             * @default null
             */
            logprobs?: boolean | null;
            /**
             * Max Completion Tokens
             * @default null
             */
            max_completion_tokens?: number | null;
            /**
             * Max Tokens
             * @default null
             */
            max_tokens?: number | null;
            /** Messages */
            messages: components["schemas"]["app__api__openai_schemas__Message"][];
            /**
             * Metadata
             * @description Rules may ask for `metadata.<key>`; `workspace` and `task_type` count like their headers.
             * @default null
             */
            metadata?: {
                [key: string]: unknown;
            } | null;
            /**
             * Modalities
             * @default null
             */
            modalities?: "text"[] | null;
            /**
             * Model
             * @description `auto` or a rule's name: decide by rules. Or a model: a wish, under the workspace's policy.
             * @example auto
             */
            model: string;
            /**
             * N
             * @default null
             */
            n?: number | null;
            /**
             * Parallel Tool Calls
             * @default null
             */
            parallel_tool_calls?: boolean | null;
            /**
             * Prediction
             * @description Passed over: it only ever makes an answer faster.
             * @default null
             */
            prediction?: {
                [key: string]: unknown;
            } | null;
            /**
             * Presence Penalty
             * @default null
             */
            presence_penalty?: number | null;
            /**
             * Prompt Cache Key
             * @description Passed over.
             * @default null
             */
            prompt_cache_key?: string | null;
            /**
             * Prompt Cache Retention
             * @description Passed over.
             * @default null
             */
            prompt_cache_retention?: string | null;
            /**
             * Reasoning Effort
             * @default null
             */
            reasoning_effort?: string | null;
            /** @default null */
            response_format?: components["schemas"]["ResponseFormat"] | null;
            /**
             * Safety Identifier
             * @description Passed over.
             * @default null
             */
            safety_identifier?: string | null;
            /**
             * Seed
             * @default null
             */
            seed?: number | null;
            /**
             * Service Tier
             * @description Passed over.
             * @default null
             */
            service_tier?: string | null;
            /**
             * Stop
             * @default null
             */
            stop?: string | string[] | null;
            /**
             * Store
             * @description Passed over: nothing is stored but usage.
             * @default null
             */
            store?: boolean | null;
            /**
             * Stream
             * @default null
             */
            stream?: boolean | null;
            /** @default null */
            stream_options?: components["schemas"]["StreamOptions"] | null;
            /**
             * Temperature
             * @default null
             */
            temperature?: number | null;
            /**
             * Tool Choice
             * @default null
             */
            tool_choice?: ("auto" | "none" | "required") | components["schemas"]["NamedTool"] | null;
            /**
             * Tools
             * @default null
             */
            tools?: components["schemas"]["app__api__openai_schemas__Tool"][] | null;
            /**
             * Top P
             * @default null
             */
            top_p?: number | null;
            /**
             * User
             * @description Passed over.
             * @default null
             */
            user?: string | null;
            /**
             * Verbosity
             * @description Passed over.
             * @default null
             */
            verbosity?: string | null;
        };
        /**
         * ChatMessage
         * @description A message in OpenAI's shape.
         */
        ChatMessage: {
            /**
             * Content
             * @description Text, or a list of text and image parts. May be absent beside `tool_calls`.
             * @default null
             */
            content?: string | (components["schemas"]["TextPart"] | components["schemas"]["ImagePart"])[] | null;
            /**
             * Name
             * @default null
             */
            name?: string | null;
            /**
             * Role
             * @enum {string}
             */
            role: "system" | "developer" | "user" | "assistant" | "tool";
            /**
             * Tool Call Id
             * @default null
             */
            tool_call_id?: string | null;
            /**
             * Tool Calls
             * @default null
             */
            tool_calls?: components["schemas"]["app__api__schemas__ToolCall"][] | null;
        };
        /**
         * ChatResult
         * @description The whole answer, with `stream: false`.
         */
        ChatResult: {
            /** Attempt Count */
            attempt_count: number;
            /** Attempts */
            attempts: components["schemas"]["AttemptResult"][];
            context: components["schemas"]["ContextResult"] | null;
            /**
             * Cost Source
             * @enum {string}
             */
            cost_source: "provider" | "computed" | "estimated" | "unknown";
            /**
             * Cost Usd
             * @description null: unknown. A local model costs 0.
             */
            cost_usd: number | null;
            /**
             * Finish Reason
             * @example stop
             * @example length
             * @example tool_calls
             * @example content_filter
             */
            finish_reason: string;
            /** Input Tokens */
            input_tokens: number;
            /** Latency Ms */
            latency_ms: number;
            /**
             * Ledger
             * @enum {string}
             */
            ledger: "stored" | "queued";
            /**
             * Location
             * @enum {string}
             */
            location: "in_process" | "loopback" | "trusted" | "cloud";
            /**
             * Model
             * @description Who answered, by its configured id.
             */
            model: string;
            /** Output Tokens */
            output_tokens: number;
            /** Request Id */
            request_id: string;
            route: components["schemas"]["RouteResult"];
            /** Text */
            text: string;
            /** Time To First Token Ms */
            time_to_first_token_ms: number | null;
            /** Tool Calls */
            tool_calls: components["schemas"]["ToolCallResult"][];
            /** Warnings */
            warnings: string[];
        };
        /**
         * Chunk
         * @description A piece of a file. Lines are 1-based and inclusive.
         */
        Chunk: {
            /**
             * End Line
             * @default null
             */
            end_line?: number | null;
            /**
             * Path
             * @default null
             */
            path?: string | null;
            /**
             * Similarity
             * @description How well it fits the query, 1 best; decides which chunks stay when not all fit.
             * @default null
             */
            similarity?: number | null;
            /**
             * Start Line
             * @default null
             */
            start_line?: number | null;
            /** Text */
            text: string;
        };
        /**
         * ChunksBody
         * @description Chunks to store and files to forget, in one commit: a file named in both is replaced whole.
         * @example {
         *       "chunks": [
         *         {
         *           "path": "src/notes.py",
         *           "symbol": "add",
         *           "text": "def add(note):\n    ..."
         *         }
         *       ],
         *       "delete_paths": [
         *         "src/notes.py"
         *       ],
         *       "workspace": "thesis-research"
         *     }
         */
        ChunksBody: {
            /**
             * Chunks
             * @description Stored, or replaced by id.
             * @default []
             */
            chunks?: components["schemas"]["StoredChunk"][];
            /**
             * Delete Paths
             * @description Every chunk of these files goes first.
             * @default []
             */
            delete_paths?: string[];
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /** ChunksResult */
        ChunksResult: {
            /**
             * Ids
             * @description Of the stored chunks, in the order they were given.
             */
            ids: string[];
            /**
             * Searchable
             * @description By what they are found.
             * @example meaning and words
             * @example words
             */
            searchable: string;
            /** Workspace */
            workspace: string;
        };
        /** ComparisonResult */
        ComparisonResult: {
            /**
             * Cost Per Request Usd
             * @description Per attempt that went well.
             */
            cost_per_request_usd: number | null;
            figures: components["schemas"]["UsageFigures"];
            /** Model */
            model: string;
            /** Task Type */
            task_type: string;
            verdict: components["schemas"]["app__api__usage_schemas__VerdictResult"] | null;
        };
        /**
         * CompletionBody
         * @description OpenAI's older completion: a text to go on with, and with `suffix` a gap to fill.
         */
        CompletionBody: {
            /**
             * Best Of
             * @default null
             */
            best_of?: number | null;
            /**
             * Echo
             * @default null
             */
            echo?: boolean | null;
            /**
             * Frequency Penalty
             * @default null
             */
            frequency_penalty?: number | null;
            /**
             * Logit Bias
             * @default null
             */
            logit_bias?: {
                [key: string]: number;
            } | null;
            /**
             * Logprobs
             * @default null
             */
            logprobs?: number | null;
            /**
             * Max Tokens
             * @default null
             */
            max_tokens?: number | null;
            /**
             * Metadata
             * @description Rules may ask for `metadata.<key>`; `workspace` and `task_type` count like their headers.
             * @default null
             */
            metadata?: {
                [key: string]: unknown;
            } | null;
            /**
             * Model
             * @description `auto` or a rule's name: decide by rules. Or a model: a wish, under the workspace's policy.
             * @example auto
             */
            model: string;
            /**
             * N
             * @default null
             */
            n?: number | null;
            /**
             * Presence Penalty
             * @default null
             */
            presence_penalty?: number | null;
            /** Prompt */
            prompt: string | string[];
            /**
             * Seed
             * @default null
             */
            seed?: number | null;
            /**
             * Stop
             * @default null
             */
            stop?: string | string[] | null;
            /**
             * Stream
             * @default null
             */
            stream?: boolean | null;
            /** @default null */
            stream_options?: components["schemas"]["StreamOptions"] | null;
            /**
             * Suffix
             * @description What follows the gap; the answer fills it.
             * @default null
             */
            suffix?: string | null;
            /**
             * Temperature
             * @default null
             */
            temperature?: number | null;
            /**
             * Top P
             * @default null
             */
            top_p?: number | null;
            /**
             * User
             * @description Passed over.
             * @default null
             */
            user?: string | null;
        };
        /**
         * Context
         * @description What the model may see beside the query; trimmed to its window by priority.
         */
        Context: {
            /**
             * Chunks
             * @default []
             */
            chunks?: components["schemas"]["Chunk"][];
            /**
             * Entities
             * @default []
             */
            entities?: components["schemas"]["Entity"][];
            /** @default null */
            file?: components["schemas"]["File"] | null;
            /**
             * History
             * @default []
             */
            history?: components["schemas"]["HistoryMessage"][];
            /**
             * Session State
             * @default null
             */
            session_state?: {
                [key: string]: unknown;
            } | string | null;
            /**
             * Stacktrace
             * @default null
             */
            stacktrace?: string | null;
        };
        /** ContextResult */
        ContextResult: {
            /** Blocks */
            blocks: components["schemas"]["BlockResult"][];
            /**
             * Input Tokens
             * @description Counted before the call; what the provider reported is in `done`.
             */
            input_tokens: number;
            /** Model */
            model: string;
            /**
             * Notes
             * @description Upgrades that were not taken and why, who summarised; absent where empty.
             */
            notes?: string[];
            /** Reserved Output */
            reserved_output: number;
            /**
             * Upgraded From
             * @description The model whose window was too small.
             */
            upgraded_from?: string | null;
            /**
             * Window
             * @description The model's limit in tokens.
             */
            window: number;
        };
        /**
         * CountBody
         * @description Anthropic's token counting: a message that is not sent.
         */
        CountBody: {
            /**
             * Cache Control
             * @description Passed over.
             * @default null
             */
            cache_control?: {
                [key: string]: unknown;
            } | null;
            /** Messages */
            messages: components["schemas"]["app__api__anthropic_schemas__Message"][];
            /**
             * Model
             * @description `auto` or a rule's name: decide by rules. Or a model: a wish, under the workspace's policy.
             * @example auto
             */
            model: string;
            /** @default null */
            output_config?: components["schemas"]["OutputConfig"] | null;
            /**
             * System
             * @default null
             */
            system?: string | components["schemas"]["Text"][] | null;
            /**
             * @description Not sent on; what a model thinks aloud is shown if it is on.
             * @default null
             */
            thinking?: components["schemas"]["Thinking"] | null;
            /** @default null */
            tool_choice?: components["schemas"]["ToolChoice"] | null;
            /**
             * Tools
             * @default null
             */
            tools?: components["schemas"]["app__api__anthropic_schemas__Tool"][] | null;
        };
        /** DashboardLink */
        DashboardLink: {
            /** Expires In Seconds */
            expires_in_seconds: number;
            /**
             * Path
             * @description Opens the dashboard once.
             * @example /dashboard/login?code=…
             */
            path: string;
        };
        /** DifferenceResult */
        DifferenceResult: {
            /** Bucket */
            bucket: string;
            /** Computed */
            computed: number | null;
            /** Dimension */
            dimension: {
                [key: string]: string | null;
            };
            /** Field */
            field: string;
            /**
             * Level
             * @description The bucket's width in seconds.
             */
            level: number;
            /** Stored */
            stored: number | null;
        };
        /**
         * EmbeddingBody
         * @description OpenAI's embeddings. Made on this machine whatever the model's name.
         */
        EmbeddingBody: {
            /**
             * Dimensions
             * @default null
             */
            dimensions?: number | null;
            /**
             * Encoding Format
             * @default null
             */
            encoding_format?: ("float" | "base64") | null;
            /**
             * Input
             * @description One text or several; token numbers are not taken, the tokenizers differ.
             */
            input: string | string[];
            /**
             * Model
             * @description `auto` or a rule's name: decide by rules. Or a model: a wish, under the workspace's policy.
             * @example auto
             */
            model: string;
            /**
             * User
             * @description Passed over.
             * @default null
             */
            user?: string | null;
        };
        /**
         * EntitiesBody
         * @description Entities and relations that one origin speaks of, in one commit. Sending the same again changes nothing.
         * @example {
         *       "entities": [
         *         {
         *           "name": "gradient checkpointing",
         *           "summary": "Trades compute for memory."
         *         },
         *         {
         *           "kind": "file",
         *           "name": "train.py",
         *           "path": "src/train.py"
         *         }
         *       ],
         *       "relations": [
         *         {
         *           "from": "train.py",
         *           "kind": "uses",
         *           "to": "gradient checkpointing"
         *         }
         *       ],
         *       "workspace": "thesis-research"
         *     }
         */
        EntitiesBody: {
            /**
             * Delete Origins
             * @description All that these origins of this source said goes first.
             * @default []
             */
            delete_origins?: string[];
            /**
             * Entities
             * @default []
             */
            entities?: components["schemas"]["EntityIn"][];
            /**
             * Origin
             * @description What it was read from: a path, a session's id, an agent's name. Forgotten by this.
             * @default null
             */
            origin?: string | null;
            /**
             * Relations
             * @default []
             */
            relations?: components["schemas"]["RelationIn"][];
            /**
             * Source
             * @description Who says so; of several descriptions the user's counts first.
             * @default user
             * @enum {string}
             */
            source?: "user" | "agent" | "code" | "text";
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /** EntitiesResult */
        EntitiesResult: {
            /**
             * Ids
             * @description Of the entities given, in order; two names of one thing have one id.
             */
            ids: string[];
            /**
             * Relations
             * @description How many were stored; one between two names of the same thing is not.
             */
            relations: number;
            /** Workspace */
            workspace: string;
        };
        /**
         * Entity
         * @description Something the workspace knows about; `hops` from what the request is about.
         */
        Entity: {
            /**
             * Hops
             * @default 1
             */
            hops?: number;
            /**
             * Kind
             * @default null
             */
            kind?: string | null;
            /** Name */
            name: string;
            /**
             * Summary
             * @default null
             */
            summary?: string | null;
        };
        /** EntityDetailResult */
        EntityDetailResult: {
            /** Aliases */
            aliases: string[];
            /**
             * First Seen
             * @description ISO 8601, UTC.
             */
            first_seen: string;
            /** Id */
            id: string;
            /** Kind */
            kind: string;
            /** Last Seen */
            last_seen: string;
            /** Line */
            line: number | null;
            /**
             * Mentions
             * @description Over all origins.
             */
            mentions: number;
            /** Name */
            name: string;
            /**
             * Neighbours
             * @description Nearest, then most strongly related first.
             */
            neighbours: components["schemas"]["FoundEntity"][];
            /**
             * Path
             * @description The file it is defined in, where that is known.
             */
            path: string | null;
            /**
             * Private
             * @description Some of it was stored while private: only local models may see it.
             */
            private: boolean;
            /**
             * Relations
             * @description Among it and its neighbours.
             */
            relations: components["schemas"]["RelationResult"][];
            /**
             * Sightings
             * @description Who speaks of it, the latest first; at most 100.
             */
            sightings: components["schemas"]["SightingResult"][];
            /**
             * Source
             * @description Who describes it.
             * @enum {string}
             */
            source: "user" | "agent" | "code" | "text";
            /** Summary */
            summary: string | null;
            /**
             * Truncated
             * @description There are more neighbours.
             */
            truncated: boolean;
            /** Workspace */
            workspace: string;
        };
        /**
         * EntityEnd
         * @description An end of a relation by name and kind; made where there is none.
         */
        EntityEnd: {
            /**
             * Kind
             * @description class, function, file, person, error, concept …
             * @default concept
             */
            kind?: string;
            /** Name */
            name: string;
        };
        /**
         * EntityIn
         * @description Merged with the entity of this kind whose name is the same but for case, spaces and quotes.
         */
        EntityIn: {
            /**
             * Aliases
             * @description Other names: entities of this kind under them become one with it.
             * @default []
             */
            aliases?: string[];
            /**
             * Kind
             * @description class, function, file, person, error, concept …
             * @default concept
             */
            kind?: string;
            /**
             * Line
             * @description 1-based; needs `path`.
             * @default null
             */
            line?: number | null;
            /**
             * Mentions
             * @description How often the origin names it.
             * @default 1
             */
            mentions?: number;
            /** Name */
            name: string;
            /**
             * Path
             * @description The file it is defined in.
             * @default null
             */
            path?: string | null;
            /**
             * Summary
             * @default null
             */
            summary?: string | null;
        };
        /**
         * ExplainBody
         * @description The same body as a chat's, and no model is called.
         * @example {
         *       "query": "Why does this loop never end?",
         *       "task_type": "debugging",
         *       "workspace": "work"
         *     }
         * @example {
         *       "context": {
         *         "file": {
         *           "line": 1,
         *           "path": "notes.md",
         *           "text": "# Notes\n…"
         *         }
         *       },
         *       "max_output_tokens": 400,
         *       "query": "Summarise the open file.",
         *       "stream": false
         *     }
         */
        ExplainBody: {
            /**
             * Contains Code
             * @description Detected when absent.
             * @default null
             */
            contains_code?: boolean | null;
            /**
             * @default {
             *       "chunks": [],
             *       "entities": [],
             *       "file": null,
             *       "history": [],
             *       "session_state": null,
             *       "stacktrace": null
             *     }
             */
            context?: components["schemas"]["Context"];
            /**
             * Include Messages
             * @description Also show the messages that would be sent.
             * @default false
             */
            include_messages?: boolean;
            /**
             * Max Output Tokens
             * @description Most tokens of the answer.
             * @default null
             */
            max_output_tokens?: number | null;
            /**
             * Messages
             * @description The conversation, ending with the question. Or give `query`.
             * @default null
             */
            messages?: components["schemas"]["ChatMessage"][] | null;
            /**
             * Metadata
             * @description Anything; rules may ask for `metadata.<key>`.
             * @default {}
             */
            metadata?: {
                [key: string]: unknown;
            };
            /**
             * Model
             * @description A wish: goes in front of the rule's models, still under the workspace's policy.
             * @default null
             */
            model?: string | null;
            /**
             * Query
             * @description The question. Or give `messages`.
             * @default null
             */
            query?: string | null;
            /** @default null */
            response_format?: components["schemas"]["ResponseFormat"] | null;
            /**
             * Resumable
             * @description Goes on for 30 s after the client left; `GET /chat/{request_id}/events` reads on.
             * @default false
             */
            resumable?: boolean;
            /**
             * Retrieve
             * @description Also look for what fits in the workspace's index.
             * @default false
             */
            retrieve?: boolean;
            /**
             * Session Id
             * @description A stored conversation to continue.
             * @default null
             */
            session_id?: string | null;
            /**
             * Stop
             * @description A text that ends the answer, or at most 8 of them.
             * @default null
             */
            stop?: string | string[] | null;
            /**
             * Stream
             * @description Server-Sent Events; false: one JSON object.
             * @default true
             */
            stream?: boolean;
            /**
             * Task Type
             * @description What the request is for; rules go by it.
             * @default chat
             */
            task_type?: string;
            /**
             * Temperature
             * @default null
             */
            temperature?: number | null;
            /**
             * Tool Choice
             * @default null
             */
            tool_choice?: ("auto" | "none" | "required") | components["schemas"]["NamedTool"] | null;
            /**
             * Tools
             * @default null
             */
            tools?: components["schemas"]["app__api__schemas__Tool"][] | null;
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /**
         * ExplainResult
         * @description What a chat with this body would do, without doing it.
         */
        ExplainResult: {
            /** Budget */
            budget: {
                [key: string]: unknown;
            };
            /** Candidates */
            candidates: components["schemas"]["CandidateResult"][];
            /**
             * Facts
             * @description What the rules were asked about.
             */
            facts: {
                [key: string]: unknown;
            };
            /**
             * Messages
             * @description With `include_messages`: what would be sent.
             */
            messages?: {
                [key: string]: unknown;
            }[] | null;
            /** Request Id */
            request_id: string;
            route: components["schemas"]["ExplainedRoute"];
            /** Warnings */
            warnings: string[];
        };
        /** ExplainedRoute */
        ExplainedRoute: {
            /**
             * Candidates
             * @description Ids of the permitted models, in the order they are asked.
             */
            candidates: string[];
            /**
             * Local Only
             * @description True: nothing of this request may leave the machine.
             */
            local_only: boolean;
            /**
             * Location
             * @enum {string}
             */
            location: "in_process" | "loopback" | "trusted" | "cloud";
            /** Max Output Tokens */
            max_output_tokens: number | null;
            /**
             * Model
             * @description The first candidate.
             */
            model: string;
            /**
             * Reasons
             * @description Sentences for people.
             */
            reasons: string[];
            /** Removed */
            removed: components["schemas"]["RemovedResult"][];
            /** Request Id */
            request_id: string;
            /**
             * Rule
             * @description The first rule that matched.
             * @example complex_reasoning
             */
            rule: string;
            /** Summarizer */
            summarizer: string | null;
            /** Upgrades */
            upgrades: string[];
            /** Verdicts */
            verdicts: components["schemas"]["app__api__results__VerdictResult"][];
        };
        /**
         * ExtractBody
         * @description A text to find entities in. It is read on this machine alone, whatever the workspace allows.
         * @example {
         *       "origin": "note-7",
         *       "text": "Ada fixed the leak in src/train.py.",
         *       "workspace": "work"
         *     }
         */
        ExtractBody: {
            /**
             * Origin
             * @description What the text is: a path, a session's id, a note's. What it said before is replaced. Made from the text when absent.
             * @default null
             */
            origin?: string | null;
            /**
             * Source
             * @description Who says so.
             * @default text
             * @enum {string}
             */
            source?: "text" | "agent";
            /**
             * Store
             * @description False: only say what would be stored.
             * @default true
             */
            store?: boolean;
            /** Text */
            text: string;
            /**
             * Use Model
             * @description False: by patterns (and the recogniser) alone, in milliseconds.
             * @default true
             */
            use_model?: boolean;
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /** ExtractResult */
        ExtractResult: {
            /**
             * By
             * @description Who found them: a local model, `patterns` where none answered, the recogniser where installed.
             */
            by: string[];
            /** Entities */
            entities: components["schemas"]["ExtractedEntity"][];
            /** Relations */
            relations: components["schemas"]["ExtractedRelation"][];
            /** Stored */
            stored: boolean;
            /** Warnings */
            warnings: string[];
            /** Workspace */
            workspace: string;
        };
        /** ExtractedEntity */
        ExtractedEntity: {
            /**
             * Id
             * @description Null with `store: false`.
             */
            id: string | null;
            /** Kind */
            kind: string;
            /** Mentions */
            mentions: number;
            /**
             * Name
             * @description As it stands in the text.
             */
            name: string;
            /** Summary */
            summary: string | null;
        };
        /** ExtractedRelation */
        ExtractedRelation: {
            /**
             * From
             * @description A name.
             */
            from: string;
            /** Kind */
            kind: string;
            /**
             * To
             * @description A name.
             */
            to: string;
            /** Weight */
            weight: number;
        };
        /** FeedbackBody */
        FeedbackBody: {
            /**
             * Note
             * @default null
             */
            note?: string | null;
            /**
             * Score
             * @description 1 (useless) to 5 (just right).
             */
            score: number;
        };
        /** FeedbackResult */
        FeedbackResult: {
            /** Created At */
            created_at: string;
            /**
             * Model
             * @description The one that answered.
             */
            model: string;
            /** Note */
            note: string | null;
            /** Request Id */
            request_id: string;
            /** Score */
            score: number;
            /** Task Type */
            task_type: string;
            /** Workspace */
            workspace: string;
        };
        /** FieldError */
        FieldError: {
            /**
             * Field
             * @description Path of what is wrong.
             * @example context.chunks[0].start_line
             */
            field: string;
            /**
             * Message
             * @description What was expected.
             * @example must be a whole number
             */
            message: string;
        };
        /**
         * File
         * @description The file being worked on; `line` (1-based) is where the cursor is.
         */
        File: {
            /**
             * Line
             * @default null
             */
            line?: number | null;
            /**
             * Path
             * @default null
             */
            path?: string | null;
            /** Text */
            text: string;
        };
        /** Format */
        Format: {
            /** Schema */
            schema: {
                [key: string]: unknown;
            };
            /**
             * Type
             * @constant
             */
            type: "json_schema";
        };
        /** FoundChunk */
        FoundChunk: {
            /**
             * End Line
             * @description Inclusive.
             */
            end_line: number;
            /** Id */
            id: string;
            /** Language */
            language: string | null;
            /**
             * Lexical Rank
             * @description Place in the full-text search, from 1.
             */
            lexical_rank: number | null;
            /**
             * Path
             * @description Relative to the folder that was indexed.
             * @example app/llm/retry.py
             */
            path: string;
            /**
             * Score
             * @description Higher is better; comparable within one answer only.
             */
            score: number;
            /**
             * Similarity
             * @description Cosine to the query; null where either has no vector.
             */
            similarity: number | null;
            /** Start Line */
            start_line: number;
            /**
             * Symbol
             * @example ModelRouter.stream
             */
            symbol: string | null;
            /** Text */
            text: string;
            /**
             * Vector Rank
             * @description Place in the vector search, from 1.
             */
            vector_rank: number | null;
        };
        /** FoundEntities */
        FoundEntities: {
            /**
             * Entities
             * @description Best first; without `q` the most mentioned first.
             */
            entities: components["schemas"]["FoundEntity"][];
            /**
             * Next Cursor
             * @description Without `q`: `cursor` of the next page; null on the last one.
             */
            next_cursor: string | null;
            /**
             * Relations
             * @description Among these entities; empty with `hops=0`.
             */
            relations: components["schemas"]["RelationResult"][];
            /** Workspace */
            workspace: string;
        };
        /** FoundEntity */
        FoundEntity: {
            /**
             * First Seen
             * @description ISO 8601, UTC.
             */
            first_seen: string;
            /**
             * Hops
             * @description 0: found itself; else so far from something found.
             */
            hops: number;
            /** Id */
            id: string;
            /** Kind */
            kind: string;
            /** Last Seen */
            last_seen: string;
            /** Line */
            line: number | null;
            /**
             * Mentions
             * @description Over all origins.
             */
            mentions: number;
            /** Name */
            name: string;
            /**
             * Path
             * @description The file it is defined in, where that is known.
             */
            path: string | null;
            /**
             * Private
             * @description Some of it was stored while private: only local models may see it.
             */
            private: boolean;
            /**
             * Score
             * @description Higher is better; comparable within one answer and one distance only.
             */
            score: number;
            /**
             * Similarity
             * @description Cosine to `q`; null where either has no vector.
             */
            similarity: number | null;
            /**
             * Source
             * @description Who describes it.
             * @enum {string}
             */
            source: "user" | "agent" | "code" | "text";
            /** Summary */
            summary: string | null;
            /** Workspace */
            workspace: string;
        };
        /** Health */
        Health: {
            /** Instance Id */
            instance_id: string;
            /** Open Streams */
            open_streams: number;
            /**
             * Parts
             * @description config, ledger, litellm, models (in `servers` each model endpoint, by address or provider), embedder, index, scheduler, agents, notifications, entities.
             */
            parts: {
                [key: string]: components["schemas"]["PartHealth"];
            };
            /**
             * Started At
             * @description ISO 8601, UTC.
             */
            started_at: string;
            /**
             * Status
             * @description The worst part's.
             * @enum {string}
             */
            status: "ok" | "starting" | "degraded" | "down";
            /** Version */
            version: string;
        };
        /** HistoryMessage */
        HistoryMessage: {
            /** Content */
            content: string;
            /**
             * Role
             * @enum {string}
             */
            role: "user" | "assistant" | "system";
        };
        /** ImagePart */
        ImagePart: {
            image_url: components["schemas"]["ImageUrl"];
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "image_url";
        };
        /** ImageUrl */
        ImageUrl: {
            /**
             * Detail
             * @default null
             */
            detail?: ("auto" | "low" | "high") | null;
            /**
             * Url
             * @description A `data:` URL, or an http(s) URL that a cloud provider fetches itself.
             */
            url: string;
        };
        /**
         * IndexBody
         * @description A folder to index, or to index again: what did not change since the last time is not read.
         * @example {
         *       "path": "/home/me/thesis",
         *       "watch": true,
         *       "workspace": "thesis-research"
         *     }
         */
        IndexBody: {
            /**
             * Path
             * @description An absolute path of a folder on the sidecar's machine.
             */
            path: string;
            /**
             * Stream
             * @description Progress as Server-Sent Events; false: one JSON object at the end.
             * @default true
             */
            stream?: boolean;
            /**
             * Wait
             * @description False: answer 202 at once; `GET /api/v1/index` tells how far it is.
             * @default true
             */
            wait?: boolean;
            /**
             * Watch
             * @description Keep it current from now on, also after a restart; as it was when absent.
             * @default null
             */
            watch?: boolean | null;
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /** IndexDropped */
        IndexDropped: {
            /**
             * Dropped
             * @description Folders.
             */
            dropped: string[];
            /** Workspace */
            workspace: string;
        };
        /** IndexList */
        IndexList: {
            /** Folders */
            folders: components["schemas"]["IndexStatus"][];
        };
        /** IndexProgressResult */
        IndexProgressResult: {
            /**
             * Chunks
             * @description Stored by this run.
             */
            chunks: number;
            /** Elapsed Seconds */
            elapsed_seconds: number;
            /** Eta Seconds */
            eta_seconds: number | null;
            /** Files Indexed */
            files_indexed: number;
            /** Files Removed */
            files_removed: number;
            /**
             * Files Seen
             * @description That can be indexed.
             */
            files_seen: number;
            /**
             * Files To Index
             * @description New or changed ones; null until the folder has been listed.
             */
            files_to_index: number | null;
            /** Files Unchanged */
            files_unchanged: number;
            /**
             * Rate
             * @description Chunks a second.
             */
            rate: number | null;
            /**
             * Skipped
             * @description How many were left out, by reason.
             * @example {
             *       "binary": 3,
             *       "ignored": 12,
             *       "symlink": 1,
             *       "too_large": 1
             *     }
             */
            skipped: {
                [key: string]: number;
            };
            /**
             * State
             * @example queued
             * @example scanning
             * @example indexing
             * @example finishing
             * @example done
             * @example failed
             * @example cancelled
             */
            state: string;
        };
        /** IndexStatus */
        IndexStatus: {
            /** Error */
            error: string | null;
            /**
             * Files
             * @description In the index; in lists only.
             */
            files?: number | null;
            /**
             * Id
             * @description Of the latest run; null where there was none since the sidecar started.
             */
            id: string | null;
            /**
             * Indexed At
             * @description When a run last came to its end.
             */
            indexed_at: string | null;
            /** Path */
            path: string;
            /**
             * Prefix
             * @description Stands before a file's path in the index, where a workspace has several folders.
             */
            prefix: string;
            progress: components["schemas"]["IndexProgressResult"] | null;
            /** Started At */
            started_at: string | null;
            /**
             * State
             * @description The latest run's, else `idle`.
             */
            state: string;
            /** Watch */
            watch: boolean;
            /**
             * Watch Problem
             * @description Why it cannot be watched at the moment.
             */
            watch_problem: string | null;
            /** Workspace */
            workspace: string;
        };
        /**
         * KeyBody
         * @description A new key. Say which workspace it is for, or that it is for all of them.
         */
        KeyBody: {
            /**
             * Name
             * @description Of the client: letters, digits, spaces and `_ . -`.
             * @example continue
             */
            name: string;
            /**
             * Rights
             * @description `chat`: ask, search, sessions. `usage`: see what was spent. `admin`: everything else too.
             * @default [
             *       "chat"
             *     ]
             */
            rights?: ("chat" | "usage" | "admin")[];
            /**
             * Task Type
             * @description Of the client's requests that name none.
             * @default null
             */
            task_type?: string | null;
            /**
             * Workspace
             * @description The only workspace the key acts in; null: all of them.
             */
            workspace: string | null;
        };
        /** KeyList */
        KeyList: {
            /** Keys */
            keys: components["schemas"]["KeyResult"][];
        };
        /** KeyResult */
        KeyResult: {
            /** Created At */
            created_at: string;
            /** Id */
            id: string;
            /**
             * Last Used At
             * @description To the minute; null: never.
             */
            last_used_at: string | null;
            /** Name */
            name: string;
            /** Revoked At */
            revoked_at: string | null;
            /** Rights */
            rights: ("chat" | "usage" | "admin")[];
            /** Task Type */
            task_type: string | null;
            /**
             * Workspace
             * @description null: every workspace.
             */
            workspace: string | null;
        };
        /** LackResult */
        LackResult: {
            /** Remedy */
            remedy: string;
            /** What */
            what: string;
        };
        /** LineResult */
        LineResult: {
            /** At */
            at: string;
            /**
             * Level
             * @enum {string}
             */
            level: "debug" | "info" | "warning" | "error";
            /** Text */
            text: string;
        };
        /** LinkedImage */
        LinkedImage: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "url";
            /** Url */
            url: string;
        };
        /**
         * Liveness
         * @description Says that the sidecar is there, to whoever asks; details need the token.
         */
        Liveness: {
            /**
             * Instance Id
             * @description Made anew at each start; null while starting.
             */
            instance_id: string | null;
            /**
             * Status
             * @enum {string}
             */
            status: "starting" | "ok" | "shutting_down";
            /**
             * Version
             * @example 0.1.0
             */
            version: string;
        };
        /** MessageList */
        MessageList: {
            /** Messages */
            messages: components["schemas"]["MessageResult"][];
            /**
             * Next After
             * @description `after` of the next page; null on the last one.
             */
            next_after: number | null;
        };
        /**
         * MessageResult
         * @description A message as it was said, in OpenAI's shape (`tool_calls`, `tool_call_id` and `name` where it has them).
         */
        MessageResult: {
            /** Content */
            content: string | {
                [key: string]: unknown;
            }[] | null;
            /** Created At */
            created_at: string;
            /**
             * Partial
             * @description An answer that was cut or cancelled.
             */
            partial: boolean;
            /**
             * Request Id
             * @description Of the chat it came from; leads to its rows in the ledger.
             */
            request_id: string | null;
            /**
             * Role
             * @enum {string}
             */
            role: "system" | "developer" | "user" | "assistant" | "tool";
            /**
             * Seq
             * @description From 0, without gaps.
             */
            seq: number;
        } & {
            [key: string]: unknown;
        };
        /**
         * MessagesBody
         * @description Messages to append, in the order they were said.
         * @example {
         *       "messages": [
         *         {
         *           "content": "Where is the cache?",
         *           "created_at": "2026-11-24T09:30:00Z",
         *           "role": "user"
         *         },
         *         {
         *           "content": "In app/cache.py.",
         *           "role": "assistant"
         *         }
         *       ]
         *     }
         */
        MessagesBody: {
            /** Messages */
            messages: components["schemas"]["SessionMessage"][];
        };
        /** ModelList */
        ModelList: {
            /** Models */
            models: components["schemas"]["ModelResult"][];
        };
        /** ModelResult */
        ModelResult: {
            /** Api Base */
            api_base: string | null;
            /**
             * Available
             * @description false: its server does not list it; null: not known.
             */
            available: boolean | null;
            context_window: components["schemas"]["SourcedInt"];
            /** Id */
            id: string;
            /**
             * Lacks
             * @description Known not to have: tools, images, response_format.
             */
            lacks: string[];
            /**
             * Location
             * @enum {string}
             */
            location: "in_process" | "loopback" | "trusted" | "cloud";
            /** Location Reason */
            location_reason: string;
            max_output_tokens: components["schemas"]["SourcedLimit"];
            price: components["schemas"]["SourcedPrice"];
            /** Provider */
            provider: string;
            /** Tokenizer */
            tokenizer: string;
            /**
             * Unusable
             * @description Why it can never be asked as things stand.
             */
            unusable: string | null;
            /** Warnings */
            warnings: string[];
        };
        /** NamedFunction */
        NamedFunction: {
            /** Name */
            name: string;
        };
        /** NamedTool */
        NamedTool: {
            function: components["schemas"]["NamedFunction"];
            /**
             * Type
             * @constant
             */
            type: "function";
        };
        /** NewKeyResult */
        NewKeyResult: {
            /** Created At */
            created_at: string;
            /** Id */
            id: string;
            /**
             * Key
             * @description Shown this once: only its hash is kept.
             */
            key: string;
            /**
             * Last Used At
             * @description To the minute; null: never.
             */
            last_used_at: string | null;
            /** Name */
            name: string;
            /** Revoked At */
            revoked_at: string | null;
            /** Rights */
            rights: ("chat" | "usage" | "admin")[];
            /** Task Type */
            task_type: string | null;
            /**
             * Workspace
             * @description null: every workspace.
             */
            workspace: string | null;
        };
        /** NotificationList */
        NotificationList: {
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page; null on the last.
             */
            next_cursor: string | null;
            /** Notifications */
            notifications: components["schemas"]["NotificationResult"][];
            /** Unread */
            unread: number;
        };
        /** NotificationResult */
        NotificationResult: {
            /** About */
            about: {
                [key: string]: unknown;
            };
            /** Archived At */
            archived_at: string | null;
            /** Body */
            body: string;
            /** Created At */
            created_at: string;
            /** Id */
            id: string;
            /**
             * Kind
             * @description budget_threshold, budget_acted, budget_unpriced, agent, …
             */
            kind: string;
            /** Links */
            links: {
                [key: string]: string;
            }[];
            /**
             * Private
             * @description true: it is sent to no webhook.
             */
            private: boolean;
            /** Read At */
            read_at: string | null;
            /**
             * Seq
             * @description Rises with every one; `Last-Event-ID` of the stream.
             */
            seq: number;
            /**
             * Severity
             * @enum {string}
             */
            severity: "info" | "success" | "warning" | "error";
            /** Title */
            title: string;
            /** Workspace */
            workspace: string;
        };
        /** OutputConfig */
        OutputConfig: {
            /** @default null */
            format?: components["schemas"]["Format"] | null;
        };
        /**
         * PartHealth
         * @description One part; further members depend on it.
         */
        PartHealth: {
            /** Reason */
            reason?: string | null;
            /**
             * Remedy
             * @description What the person can do about it.
             */
            remedy?: string | null;
            /**
             * Status
             * @enum {string}
             */
            status: "ok" | "starting" | "degraded" | "down";
        } & {
            [key: string]: unknown;
        };
        /** PatternResult */
        PatternResult: {
            /** Cost Usd */
            cost_usd: number;
            /**
             * Key
             * @example {
             *       "task_type": "debugging"
             *     }
             */
            key: {
                [key: string]: string | null;
            };
            /** Share */
            share: number;
            /**
             * Text
             * @example debugging is 60 % of this week's cost
             */
            text: string;
        };
        /** PreviousResult */
        PreviousResult: {
            /**
             * Change
             * @description Of the cost so far against that part: 0.25 is a quarter more.
             */
            change: number | null;
            /** @description Of the whole period before. */
            figures: components["schemas"]["UsageFigures"];
            /** @description Of its part up to the same time. */
            figures_so_far: components["schemas"]["UsageFigures"];
            /** From */
            from: string;
        };
        /**
         * PriceResult
         * @description US dollars per million tokens.
         */
        PriceResult: {
            /** Cache Write */
            cache_write: number | null;
            /** Cached Input */
            cached_input: number | null;
            /** Input */
            input: number;
            /** Output */
            output: number;
            /**
             * Reasoning
             * @description Of output tokens that are thought; null: what the others cost.
             */
            reasoning: number | null;
        };
        /**
         * Problem
         * @description RFC 9457. Further members depend on the code.
         */
        Problem: {
            /**
             * Code
             * @description For programs; never changes.
             * @example unknown_workspace
             */
            code: string;
            /**
             * Detail
             * @description One sentence for people, with the remedy where there is one.
             */
            detail: string;
            /**
             * Errors
             * @description Of a 422: every wrong field.
             */
            errors?: components["schemas"]["FieldError"][] | null;
            /** Request Id */
            request_id: string;
            /**
             * Status
             * @example 422
             */
            status: number;
            /**
             * Title
             * @example Unknown workspace
             */
            title: string;
            /**
             * Type
             * @example urn:llm-sidecar:problem:unknown_workspace
             */
            type: string;
        } & {
            [key: string]: unknown;
        };
        /** ProfileList */
        ProfileList: {
            /**
             * Budgets
             * @description For all profiles together.
             */
            budgets: components["schemas"]["BudgetResult"][];
            /** Default Workspace */
            default_workspace: string;
            /** Profiles */
            profiles: components["schemas"]["ProfileResult"][];
        };
        /** ProfileResult */
        ProfileResult: {
            /** Block Cloud Apis */
            block_cloud_apis: boolean;
            /** Budgets */
            budgets: components["schemas"]["BudgetResult"][];
            /** Default */
            default: boolean;
            /** Has System Prompt */
            has_system_prompt: boolean;
            /** Id */
            id: string;
            /** Local Fallback */
            local_fallback: string | null;
            /** Name */
            name: string | null;
            /** Timezone */
            timezone: string | null;
        };
        /** ProgressResult */
        ProgressResult: {
            /** Done */
            done: number | null;
            /** Text */
            text: string;
            /** Total */
            total: number | null;
        };
        /** ProjectionResult */
        ProjectionResult: {
            /**
             * Cost Usd
             * @description Of the whole period, if it goes on like the time that has passed.
             */
            cost_usd: number | null;
            /** Elapsed Share */
            elapsed_share: number;
            /** Usd Per Day */
            usd_per_day: number | null;
            /** Usd Per Hour */
            usd_per_hour: number | null;
        };
        /** ReadAllResult */
        ReadAllResult: {
            /**
             * Read
             * @description How many were not read before.
             */
            read: number;
        };
        /** RecordList */
        RecordList: {
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page; null on the last.
             */
            next_cursor: string | null;
            /** Records */
            records: components["schemas"]["RecordResult"][];
        };
        /**
         * RecordResult
         * @description A row of the ledger: one attempt. `success` is null while it is pending.
         */
        RecordResult: {
            /** Agent */
            agent: string | null;
            /** Attempt */
            attempt: number;
            /** Cache Write Tokens */
            cache_write_tokens: number | null;
            /** Cached Input Tokens */
            cached_input_tokens: number | null;
            /** Cost Micro Usd */
            cost_micro_usd: number | null;
            /** Cost Source */
            cost_source: string;
            /** Cost Usd */
            cost_usd: number | null;
            /** Created At */
            created_at: string;
            /** Error Code */
            error_code: string | null;
            /** Error Message */
            error_message: string | null;
            /** Id */
            id: string;
            /** Input Tokens */
            input_tokens: number | null;
            /** Latency Ms */
            latency_ms: number | null;
            /** Location */
            location: string;
            /** Model */
            model: string;
            /** Output Tokens */
            output_tokens: number | null;
            /** Provider */
            provider: string;
            /** Reasoning Tokens */
            reasoning_tokens: number | null;
            /** Request Id */
            request_id: string;
            /** Rule */
            rule: string;
            /** Session Id */
            session_id: string | null;
            /** Settled At */
            settled_at: string | null;
            /**
             * Status
             * @enum {string}
             */
            status: "pending" | "ok" | "error" | "cancelled" | "interrupted";
            /** Success */
            success: boolean | null;
            /** Task Type */
            task_type: string;
            /** Time To First Token Ms */
            time_to_first_token_ms: number | null;
            /** Workspace Profile Id */
            workspace_profile_id: string;
        };
        /** Refusal */
        Refusal: {
            /** Refusal */
            refusal: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "refusal";
        };
        /**
         * RelationIn
         * @description Directed: `from` is related to `to`.
         */
        RelationIn: {
            /**
             * From
             * @description `{name, kind}`; or the name of an entity of this request, an id, or a known name.
             */
            from: components["schemas"]["EntityEnd"] | string;
            /**
             * Kind
             * @description defines, imports, calls, inherits, contained_in, causes …
             * @default related_to
             */
            kind?: string;
            /**
             * To
             * @description Like `from`.
             */
            to: components["schemas"]["EntityEnd"] | string;
            /**
             * Weight
             * @description How strongly.
             * @default 1
             */
            weight?: number;
        };
        /** RelationResult */
        RelationResult: {
            /**
             * From
             * @description An entity's id.
             */
            from: string;
            /** Kind */
            kind: string;
            /** Private */
            private: boolean;
            /**
             * To
             * @description An entity's id.
             */
            to: string;
            /**
             * Weight
             * @description Over all origins.
             */
            weight: number;
        };
        /**
         * RemovedResult
         * @description A model that would have been a candidate.
         */
        RemovedResult: {
            /**
             * Code
             * @example policy
             * @example capability
             * @example unknown_model
             */
            code: string;
            /** Model */
            model: string;
            /** Origin */
            origin: string;
            /** Reason */
            reason: string;
        };
        /** ReplayAmounts */
        ReplayAmounts: {
            /**
             * Cost After Usd
             * @description Estimated of the answering attempt's tokens, nothing cached.
             */
            cost_after_usd: number | null;
            /**
             * Cost Before Usd
             * @description Of those whose cost is known.
             */
            cost_before_usd: number | null;
            /** Difference Usd */
            difference_usd: number | null;
            /** Requests */
            requests: number;
            /** Unknown After */
            unknown_after: number;
            /** Unknown Before */
            unknown_before: number;
        };
        /** ReplayBody */
        ReplayBody: {
            /**
             * From
             * @description 30 days before `to` when absent.
             * @default null
             */
            from?: string | null;
            /**
             * Routing
             * @description A routing.yaml: its text, or the same as an object.
             */
            routing: string | {
                [key: string]: unknown;
            };
            /**
             * To
             * @description Exclusive; now when absent.
             * @default null
             */
            to?: string | null;
            /**
             * Tz
             * @default null
             */
            tz?: string | null;
            /**
             * Workspace
             * @default null
             */
            workspace?: string | null;
        };
        /** ReplayChange */
        ReplayChange: {
            /**
             * After
             * @description The first that would be asked; null: the request would be refused.
             */
            after: string | null;
            /**
             * Before
             * @description The model that answered.
             */
            before: string;
            /**
             * Cost After Usd
             * @description Estimated of the answering attempt's tokens, nothing cached.
             */
            cost_after_usd: number | null;
            /**
             * Cost Before Usd
             * @description Of those whose cost is known.
             */
            cost_before_usd: number | null;
            /** Difference Usd */
            difference_usd: number | null;
            /** Location After */
            location_after: string | null;
            /** Location Before */
            location_before: string;
            /**
             * Refusal
             * @description The code it would be refused with.
             */
            refusal: string | null;
            /** Requests */
            requests: number;
            /** Rule After */
            rule_after: string | null;
            /** Rule Before */
            rule_before: string;
            /** Unknown After */
            unknown_after: number;
            /** Unknown Before */
            unknown_before: number;
        };
        /** ReplayResult */
        ReplayResult: {
            /** Changed */
            changed: number;
            /**
             * Changes
             * @description The largest differences of cost first.
             */
            changes: components["schemas"]["ReplayChange"][];
            /** Refused */
            refused: number;
            /** Requests */
            requests: number;
            /**
             * Skipped
             * @description Requests without a receipt to go by.
             */
            skipped: number;
            totals: components["schemas"]["ReplayAmounts"];
        };
        /** RequestResult */
        RequestResult: {
            /** Attempts */
            attempts: components["schemas"]["RecordResult"][];
            feedback: components["schemas"]["FeedbackResult"] | null;
            /**
             * Receipt
             * @description Routing facts, route and context; no text of the request.
             */
            receipt: {
                [key: string]: unknown;
            } | null;
            /** Request Id */
            request_id: string;
            /** Workspace */
            workspace: string;
        };
        /**
         * ResponseFormat
         * @description `json_schema` needs the member of that name, as in OpenAI's API.
         */
        ResponseFormat: {
            /**
             * Json Schema
             * @default null
             */
            json_schema?: {
                [key: string]: unknown;
            } | null;
            /**
             * Type
             * @enum {string}
             */
            type: "text" | "json_object" | "json_schema";
        };
        /** RouteResult */
        RouteResult: {
            /**
             * Candidates
             * @description Ids of the permitted models, in the order they are asked.
             */
            candidates: string[];
            /**
             * Location
             * @enum {string}
             */
            location: "in_process" | "loopback" | "trusted" | "cloud";
            /**
             * Model
             * @description The first candidate.
             */
            model: string;
            /**
             * Reasons
             * @description Sentences for people.
             */
            reasons: string[];
            /** Request Id */
            request_id: string;
            /**
             * Rule
             * @description The first rule that matched.
             * @example complex_reasoning
             */
            rule: string;
        };
        /**
         * RuleList
         * @description In the order they are tried; the first match wins.
         */
        RuleList: {
            /** Local Fallback */
            local_fallback: string | null;
            /** Rules */
            rules: components["schemas"]["RuleResult"][];
        };
        /** RuleResult */
        RuleResult: {
            /** Conditions */
            conditions: {
                [key: string]: unknown;
            };
            /** Fallback */
            fallback: string[];
            /** Max Output Tokens */
            max_output_tokens: number | null;
            /** Model */
            model: string;
            /** Name */
            name: string;
            /** Params */
            params: {
                [key: string]: unknown;
            };
            /** Timeouts */
            timeouts: {
                [key: string]: number;
            };
        };
        /** RunDetailResult */
        RunDetailResult: {
            /** Agent */
            agent: string;
            /**
             * Attempt
             * @description How many tries were begun.
             */
            attempt: number;
            /**
             * Cause
             * @enum {string}
             */
            cause: "schedule" | "trigger" | "rerun";
            /**
             * Cost Usd
             * @description Null where some of it has no known price.
             */
            cost_usd: number | null;
            /** Created At */
            created_at: string;
            /** Data */
            data: {
                [key: string]: unknown;
            };
            /** Dry Run */
            dry_run: boolean;
            /** Error Code */
            error_code: string | null;
            /** Error Message */
            error_message: string | null;
            /** Finished At */
            finished_at: string | null;
            /** Input */
            input: {
                [key: string]: unknown;
            };
            /** Input Tokens */
            input_tokens: number;
            /**
             * Kind
             * @description Which agent the entry runs.
             */
            kind: string;
            /** Log */
            log: components["schemas"]["LineResult"][];
            /**
             * Models
             * @description Models that answered it, by the ledger.
             */
            models: string[];
            /** Output Tokens */
            output_tokens: number;
            progress: components["schemas"]["ProgressResult"] | null;
            /** Requests */
            requests: number;
            /**
             * Rerun Of
             * @description The interrupted run it stands for.
             */
            rerun_of: string | null;
            /** Run Id */
            run_id: string;
            /**
             * Scheduled At
             * @description When it was due (ISO 8601, UTC); null where somebody triggered it.
             */
            scheduled_at: string | null;
            /** Started At */
            started_at: string | null;
            /**
             * State
             * @enum {string}
             */
            state: "due" | "running" | "ok" | "failed" | "missed" | "interrupted" | "skipped" | "cancelled";
            /**
             * Stored
             * @description Ids of what it stored.
             */
            stored: string[];
            /**
             * Summary
             * @description Markdown.
             */
            summary: string | null;
            /**
             * Withheld
             * @description Of a dry run: what would have been stored or told.
             */
            withheld: string[];
            /** Workspace */
            workspace: string;
        };
        /** RunList */
        RunList: {
            /** Next Cursor */
            next_cursor: string | null;
            /** Runs */
            runs: components["schemas"]["RunResult"][];
        };
        /**
         * RunResult
         * @description One run, or one due time that had none.
         */
        RunResult: {
            /** Agent */
            agent: string;
            /**
             * Attempt
             * @description How many tries were begun.
             */
            attempt: number;
            /**
             * Cause
             * @enum {string}
             */
            cause: "schedule" | "trigger" | "rerun";
            /** Created At */
            created_at: string;
            /** Dry Run */
            dry_run: boolean;
            /** Error Code */
            error_code: string | null;
            /** Error Message */
            error_message: string | null;
            /** Finished At */
            finished_at: string | null;
            /**
             * Kind
             * @description Which agent the entry runs.
             */
            kind: string;
            progress: components["schemas"]["ProgressResult"] | null;
            /**
             * Rerun Of
             * @description The interrupted run it stands for.
             */
            rerun_of: string | null;
            /** Run Id */
            run_id: string;
            /**
             * Scheduled At
             * @description When it was due (ISO 8601, UTC); null where somebody triggered it.
             */
            scheduled_at: string | null;
            /** Started At */
            started_at: string | null;
            /**
             * State
             * @enum {string}
             */
            state: "due" | "running" | "ok" | "failed" | "missed" | "interrupted" | "skipped" | "cancelled";
            /** Workspace */
            workspace: string;
        };
        /**
         * SavingsResult
         * @description What local models' tokens would have cost at the reference model's price, less what they did.
         */
        SavingsResult: {
            /** Input Tokens */
            input_tokens: number;
            /** Output Tokens */
            output_tokens: number;
            /**
             * Reason
             * @description Why it is not known.
             */
            reason: string | null;
            /** Reference */
            reference: string | null;
            /** Requests */
            requests: number;
            /** Saved Usd */
            saved_usd: number | null;
        };
        /**
         * SearchBody
         * @description What to look for, in a workspace's indexed files.
         * @example {
         *       "k": 5,
         *       "query": "where is the retry decided?",
         *       "workspace": "work"
         *     }
         */
        SearchBody: {
            /**
             * K
             * @description Most chunks to return.
             * @default 10
             */
            k?: number;
            /** Query */
            query: string;
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /** SearchResult */
        SearchResult: {
            /**
             * Chunks
             * @description Best first, near-duplicates left out.
             */
            chunks: components["schemas"]["FoundChunk"][];
            /**
             * Searched By
             * @example meaning and words
             * @example words
             */
            searched_by: string;
            /** Workspace */
            workspace: string;
        };
        /**
         * SessionBody
         * @description A new session; with messages, an import.
         * @example {
         *       "id": "thesis-2026-11-24",
         *       "workspace": "thesis-research"
         *     }
         */
        SessionBody: {
            /**
             * Id
             * @description Made when absent.
             * @default null
             */
            id?: string | null;
            /**
             * Messages
             * @description What was said before: all of it is stored, or the session is not made.
             * @default []
             */
            messages?: components["schemas"]["SessionMessage"][];
            /**
             * Title
             * @description The beginning of the first question when absent.
             * @default null
             */
            title?: string | null;
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /** SessionDetail */
        SessionDetail: {
            /**
             * Created At
             * @description ISO 8601, UTC.
             */
            created_at: string;
            /** Id */
            id: string;
            /** Message Count */
            message_count: number;
            /**
             * Private
             * @description Made or used while its workspace was private: it never leaves this machine.
             */
            private: boolean;
            /**
             * State Captured By
             * @description The model that wrote the state; null: somebody put it.
             */
            state_captured_by: string | null;
            /** State Updated At */
            state_updated_at: string | null;
            /** @description Of the older messages, which are all still there. */
            summary: components["schemas"]["app__api__session_schemas__SummaryResult"] | null;
            /** Title */
            title: string | null;
            /** Updated At */
            updated_at: string;
            /** Workspace */
            workspace: string;
        };
        /** SessionList */
        SessionList: {
            /** Next Cursor */
            next_cursor: string | null;
            /** Sessions */
            sessions: components["schemas"]["SessionResult"][];
        };
        /**
         * SessionMessage
         * @description A message in OpenAI's shape, and when it was said.
         */
        SessionMessage: {
            /**
             * Content
             * @description Text, or a list of text and image parts. May be absent beside `tool_calls`.
             * @default null
             */
            content?: string | (components["schemas"]["TextPart"] | components["schemas"]["ImagePart"])[] | null;
            /**
             * Created At
             * @description ISO 8601; now when absent. Without an offset it is taken as UTC.
             * @default null
             */
            created_at?: string | null;
            /**
             * Name
             * @default null
             */
            name?: string | null;
            /**
             * Role
             * @enum {string}
             */
            role: "system" | "developer" | "user" | "assistant" | "tool";
            /**
             * Tool Call Id
             * @default null
             */
            tool_call_id?: string | null;
            /**
             * Tool Calls
             * @default null
             */
            tool_calls?: components["schemas"]["app__api__schemas__ToolCall"][] | null;
        };
        /** SessionResult */
        SessionResult: {
            /**
             * Created At
             * @description ISO 8601, UTC.
             */
            created_at: string;
            /** Id */
            id: string;
            /** Message Count */
            message_count: number;
            /**
             * Private
             * @description Made or used while its workspace was private: it never leaves this machine.
             */
            private: boolean;
            /** Title */
            title: string | null;
            /** Updated At */
            updated_at: string;
            /** Workspace */
            workspace: string;
        };
        /**
         * SessionState
         * @description Every field may be absent; further fields of any JSON value are kept as they are.
         * @example {
         *       "current_task": "Profile the import of the catalog",
         *       "findings": [
         *         "litellm's import takes 1.7 s"
         *       ],
         *       "goal": "Make start-up faster",
         *       "next_steps": [
         *         "import it in a thread"
         *       ],
         *       "open_files": [
         *         "app/main.py"
         *       ]
         *     }
         */
        SessionState: {
            /**
             * Blockers
             * @description What stands in the way.
             * @default []
             */
            blockers?: string[];
            /**
             * Current Task
             * @description What is being done now.
             * @default null
             */
            current_task?: string | null;
            /**
             * Findings
             * @description What was found out or decided.
             * @default []
             */
            findings?: string[];
            /**
             * Goal
             * @description What the session is for.
             * @default null
             */
            goal?: string | null;
            /**
             * Next Steps
             * @description What comes next.
             * @default []
             */
            next_steps?: string[];
            /**
             * Open Files
             * @description Paths of the files being worked on.
             * @default []
             */
            open_files?: string[];
        } & {
            [key: string]: unknown;
        };
        /** SightingResult */
        SightingResult: {
            /** First Seen */
            first_seen: string;
            /** Last Seen */
            last_seen: string;
            /** Line */
            line: number | null;
            /** Mentions */
            mentions: number;
            /** Name */
            name: string;
            /**
             * Origin
             * @description A path, a session's id, an agent's name; empty where nothing was named.
             */
            origin: string;
            /** Path */
            path: string | null;
            /** Private */
            private: boolean;
            /**
             * Source
             * @enum {string}
             */
            source: "user" | "agent" | "code" | "text";
            /** Summary */
            summary: string | null;
        };
        /** SourcedInt */
        SourcedInt: {
            /**
             * Source
             * @enum {string}
             */
            source: "config" | "litellm" | "server" | "default";
            /** Value */
            value: number;
        };
        /** SourcedLimit */
        SourcedLimit: {
            /**
             * Source
             * @enum {string}
             */
            source: "config" | "litellm" | "server" | "default";
            /** Value */
            value: number | null;
        };
        /** SourcedPrice */
        SourcedPrice: {
            /**
             * Source
             * @enum {string}
             */
            source: "config" | "litellm" | "server" | "default";
            /** @description null: unknown. */
            value: components["schemas"]["PriceResult"] | null;
        };
        /**
         * State
         * @description Where a run is. `ok` is written when it has ended well, together with the state the agent keeps.
         * @enum {string}
         */
        State: "due" | "running" | "ok" | "failed" | "missed" | "interrupted" | "skipped" | "cancelled";
        /** StopBody */
        StopBody: {
            /**
             * Path
             * @description An absolute path of a folder on the sidecar's machine.
             */
            path: string;
            /**
             * Workspace
             * @description A profile's id; the configured default when absent.
             * @default null
             */
            workspace?: string | null;
        };
        /**
         * StoredChunk
         * @description A piece of a file, cut by the front end. Lines are 1-based and inclusive.
         */
        StoredChunk: {
            /**
             * End Line
             * @description As many lines as the text has when absent.
             * @default null
             */
            end_line?: number | null;
            /**
             * Id
             * @description Made from path and text when absent. Storing an id again replaces it.
             * @default null
             */
            id?: string | null;
            /**
             * Language
             * @default null
             */
            language?: string | null;
            /** Path */
            path: string;
            /**
             * Start Line
             * @default 1
             */
            start_line?: number;
            /**
             * Symbol
             * @description The dotted path of what is defined here, `Router.stream`.
             * @default null
             */
            symbol?: string | null;
            /** Text */
            text: string;
        };
        /** StreamOptions */
        StreamOptions: {
            /**
             * Include Usage
             * @default null
             */
            include_usage?: boolean | null;
        };
        /** Text */
        Text: {
            /** Text */
            text: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "text";
        };
        /** TextPart */
        TextPart: {
            /** Text */
            text: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "text";
        };
        /** Thinking */
        Thinking: {
            /**
             * Type
             * @enum {string}
             */
            type: "enabled" | "disabled" | "adaptive";
        };
        /**
         * Thought
         * @description What a model thought aloud comes back from clients; it is not sent on: a signature binds it to its maker.
         */
        Thought: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "redacted_thinking" | "thinking";
        };
        /** ToolCallResult */
        ToolCallResult: {
            /**
             * Arguments
             * @description JSON text, as the model wrote it.
             */
            arguments: string;
            /** Id */
            id: string | null;
            /** Name */
            name: string | null;
        };
        /** ToolChoice */
        ToolChoice: {
            /**
             * Disable Parallel Tool Use
             * @default null
             */
            disable_parallel_tool_use?: boolean | null;
            /**
             * Name
             * @default null
             */
            name?: string | null;
            /**
             * Type
             * @enum {string}
             */
            type: "auto" | "any" | "tool" | "none";
        };
        /** ToolResult */
        ToolResult: {
            /**
             * Content
             * @default
             */
            content?: string | (components["schemas"]["Text"] | components["schemas"]["app__api__anthropic_schemas__Image"])[];
            /**
             * Is Error
             * @default null
             */
            is_error?: boolean | null;
            /** Tool Use Id */
            tool_use_id: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "tool_result";
        };
        /** ToolUse */
        ToolUse: {
            /** Id */
            id: string;
            /** Input */
            input?: {
                [key: string]: unknown;
            };
            /** Name */
            name: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "tool_use";
        };
        /**
         * TriggerBody
         * @description Which agent to run now.
         * @example {
         *       "agent": "maintenance",
         *       "wait": true
         *     }
         */
        TriggerBody: {
            /**
             * Agent
             * @description An entry of agents.yaml, or one of the built-in agents.
             */
            agent: string;
            /**
             * Dry Run
             * @description Do everything but store and notify.
             * @default false
             */
            dry_run?: boolean;
            /**
             * Input
             * @description Put over the entry's own; must fit the schema.
             */
            input?: {
                [key: string]: unknown;
            };
            /**
             * Wait
             * @description Answer when the run is over, or after 60 s with 202.
             * @default false
             */
            wait?: boolean;
            /**
             * Workspace
             * @description A profile's id; else the entry's, else the default one.
             * @default null
             */
            workspace?: string | null;
        };
        /**
         * UsageFigures
         * @description Sums over what is known; `cost_unknown` attempts are in none. Percentiles are within 2 %.
         */
        UsageFigures: {
            /**
             * Attempt Share
             * @description Of the whole range's attempts, 0 to 1.
             */
            attempt_share: number | null;
            /** Attempts */
            attempts: number;
            /** Cache Write Tokens */
            cache_write_tokens: number;
            /** Cached Input Tokens */
            cached_input_tokens: number;
            /** Cancelled */
            cancelled: number;
            /**
             * Cost Estimated
             * @description Attempts whose tokens were counted here, not by the provider.
             */
            cost_estimated: number;
            /** Cost Micro Usd */
            cost_micro_usd: number;
            /**
             * Cost Share
             * @description Of the whole range's cost, 0 to 1.
             */
            cost_share: number | null;
            /** Cost Unknown */
            cost_unknown: number;
            /**
             * Cost Usd
             * @description null: nothing is known.
             */
            cost_usd: number | null;
            /** Errors */
            errors: number;
            /** Estimated Cost Micro Usd */
            estimated_cost_micro_usd: number;
            /** Input Tokens */
            input_tokens: number;
            /** Interrupted */
            interrupted: number;
            /** Latency P50 Ms */
            latency_p50_ms: number | null;
            /** Latency P95 Ms */
            latency_p95_ms: number | null;
            /** Ok */
            ok: number;
            /** Output Tokens */
            output_tokens: number;
            /** Pending */
            pending: number;
            /** Reasoning Tokens */
            reasoning_tokens: number;
            /**
             * Requests
             * @description Each counted once: where its first attempt began, and in that one's group.
             */
            requests: number;
            /** Success Rate */
            success_rate: number | null;
            /** Time To First Token P50 Ms */
            time_to_first_token_p50_ms: number | null;
            /** Time To First Token P95 Ms */
            time_to_first_token_p95_ms: number | null;
            /**
             * Tokens Per Second
             * @description Output after the first token, of the attempts that went well.
             */
            tokens_per_second: number | null;
        };
        /** UsageGroup */
        UsageGroup: {
            /**
             * Attempt Share
             * @description Of the whole range's attempts, 0 to 1.
             */
            attempt_share: number | null;
            /** Attempts */
            attempts: number;
            /** Cache Write Tokens */
            cache_write_tokens: number;
            /** Cached Input Tokens */
            cached_input_tokens: number;
            /** Cancelled */
            cancelled: number;
            /**
             * Cost Estimated
             * @description Attempts whose tokens were counted here, not by the provider.
             */
            cost_estimated: number;
            /** Cost Micro Usd */
            cost_micro_usd: number;
            /**
             * Cost Share
             * @description Of the whole range's cost, 0 to 1.
             */
            cost_share: number | null;
            /** Cost Unknown */
            cost_unknown: number;
            /**
             * Cost Usd
             * @description null: nothing is known.
             */
            cost_usd: number | null;
            /** Errors */
            errors: number;
            /** Estimated Cost Micro Usd */
            estimated_cost_micro_usd: number;
            /** Input Tokens */
            input_tokens: number;
            /** Interrupted */
            interrupted: number;
            /**
             * Key
             * @example {
             *       "day": "2026-11-24",
             *       "model": "ollama/llama3:8b"
             *     }
             */
            key: {
                [key: string]: string | null;
            };
            /** Latency P50 Ms */
            latency_p50_ms: number | null;
            /** Latency P95 Ms */
            latency_p95_ms: number | null;
            /** Ok */
            ok: number;
            /** Output Tokens */
            output_tokens: number;
            /** Pending */
            pending: number;
            /** Reasoning Tokens */
            reasoning_tokens: number;
            /**
             * Requests
             * @description Each counted once: where its first attempt began, and in that one's group.
             */
            requests: number;
            /** Success Rate */
            success_rate: number | null;
            /** Time To First Token P50 Ms */
            time_to_first_token_p50_ms: number | null;
            /** Time To First Token P95 Ms */
            time_to_first_token_p95_ms: number | null;
            /**
             * Tokens Per Second
             * @description Output after the first token, of the attempts that went well.
             */
            tokens_per_second: number | null;
        };
        /** UsageResult */
        UsageResult: {
            /** Budgets */
            budgets: components["schemas"]["BudgetStateResult"][];
            /**
             * From
             * @description Inclusive, in the zone asked for.
             */
            from: string;
            /** Group By */
            group_by: string[];
            /** Groups */
            groups: components["schemas"]["UsageGroup"][];
            /**
             * Notes
             * @description What of it is not exact, where rows were dropped after their time.
             */
            notes: string[];
            /**
             * To
             * @description Exclusive.
             */
            to: string;
            totals: components["schemas"]["UsageFigures"];
            /** Tz */
            tz: string;
        };
        /** VerifyResult */
        VerifyResult: {
            /** Buckets */
            buckets: number;
            /**
             * Checked From
             * @description Rows from before it were dropped after their time; null: none were.
             */
            checked_from: string | null;
            /** Days */
            days: number;
            /**
             * Differences
             * @description The first twenty.
             */
            differences: components["schemas"]["DifferenceResult"][];
            /** Different */
            different: number;
            /**
             * Ok
             * @description Nothing differs, or nothing differs any more.
             */
            ok: boolean;
            /** Repaired */
            repaired: number;
            /** Rows */
            rows: number;
        };
        /** Image */
        app__api__anthropic_schemas__Image: {
            /** Source */
            source: components["schemas"]["Base64Image"] | components["schemas"]["LinkedImage"];
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "image";
        };
        /** Message */
        app__api__anthropic_schemas__Message: {
            /** Content */
            content: string | (components["schemas"]["Text"] | components["schemas"]["app__api__anthropic_schemas__Image"] | components["schemas"]["ToolUse"] | components["schemas"]["ToolResult"] | components["schemas"]["Thought"])[];
            /**
             * Role
             * @enum {string}
             */
            role: "user" | "assistant" | "system";
        };
        /** Tool */
        app__api__anthropic_schemas__Tool: {
            /**
             * Description
             * @default null
             */
            description?: string | null;
            /** Input Schema */
            input_schema: {
                [key: string]: unknown;
            };
            /** Name */
            name: string;
            /**
             * Strict
             * @default null
             */
            strict?: boolean | null;
            /**
             * Type
             * @default null
             */
            type?: "custom" | null;
        };
        /** CalledFunction */
        app__api__openai_schemas__CalledFunction: {
            /**
             * Arguments
             * @default
             */
            arguments?: string;
            /** Name */
            name: string;
        };
        /** Function */
        app__api__openai_schemas__Function: {
            /**
             * Description
             * @default null
             */
            description?: string | null;
            /** Name */
            name: string;
            /**
             * Parameters
             * @default null
             */
            parameters?: {
                [key: string]: unknown;
            } | null;
            /**
             * Strict
             * @default null
             */
            strict?: boolean | null;
        };
        /** Image */
        app__api__openai_schemas__Image: {
            image_url: components["schemas"]["ImageUrl"];
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "image_url";
        };
        /**
         * Message
         * @description A message of any role. What an answer of ours or of others holds beside these is passed over.
         */
        app__api__openai_schemas__Message: {
            /**
             * Content
             * @default null
             */
            content?: string | (components["schemas"]["Text"] | components["schemas"]["app__api__openai_schemas__Image"] | components["schemas"]["Refusal"])[] | null;
            /**
             * Name
             * @default null
             */
            name?: string | null;
            /**
             * Role
             * @enum {string}
             */
            role: "system" | "developer" | "user" | "assistant" | "tool";
            /**
             * Tool Call Id
             * @default null
             */
            tool_call_id?: string | null;
            /**
             * Tool Calls
             * @default null
             */
            tool_calls?: components["schemas"]["app__api__openai_schemas__ToolCall"][] | null;
        };
        /** Tool */
        app__api__openai_schemas__Tool: {
            function: components["schemas"]["app__api__openai_schemas__Function"];
            /**
             * Type
             * @constant
             */
            type: "function";
        };
        /** ToolCall */
        app__api__openai_schemas__ToolCall: {
            function: components["schemas"]["app__api__openai_schemas__CalledFunction"];
            /** Id */
            id: string;
            /**
             * Type
             * @default function
             * @constant
             */
            type?: "function";
        };
        /** VerdictResult */
        app__api__results__VerdictResult: {
            /**
             * Failed
             * @description The first condition that did not hold, with both sides.
             */
            failed: string | null;
            /** Matched */
            matched: boolean;
            /** Rule */
            rule: string;
        };
        /** CalledFunction */
        app__api__schemas__CalledFunction: {
            /**
             * Arguments
             * @description JSON text.
             */
            arguments: string;
            /** Name */
            name: string;
        };
        /** Function */
        app__api__schemas__Function: {
            /**
             * Description
             * @default null
             */
            description?: string | null;
            /** Name */
            name: string;
            /**
             * Parameters
             * @description A JSON schema.
             * @default null
             */
            parameters?: {
                [key: string]: unknown;
            } | null;
            /**
             * Strict
             * @default null
             */
            strict?: boolean | null;
        };
        /** Tool */
        app__api__schemas__Tool: {
            function: components["schemas"]["app__api__schemas__Function"];
            /**
             * Type
             * @constant
             */
            type: "function";
        };
        /** ToolCall */
        app__api__schemas__ToolCall: {
            function: components["schemas"]["app__api__schemas__CalledFunction"];
            /** Id */
            id: string;
            /**
             * Type
             * @default function
             * @constant
             */
            type?: "function";
        };
        /** SummaryResult */
        app__api__session_schemas__SummaryResult: {
            /** Created At */
            created_at: string;
            /**
             * From Seq
             * @description The first message it covers.
             */
            from_seq: number;
            /**
             * Model
             * @description Who wrote it.
             */
            model: string;
            /** Text */
            text: string;
            /**
             * To Seq
             * @description The last message it covers.
             */
            to_seq: number;
        };
        /** SummaryResult */
        app__api__usage_schemas__SummaryResult: {
            /**
             * Comparisons
             * @description Of task types that several models have worked on.
             */
            comparisons: components["schemas"]["ComparisonResult"][];
            figures: components["schemas"]["UsageFigures"];
            /** From */
            from: string;
            /** Notes */
            notes: string[];
            /**
             * Patterns
             * @description What takes a fifth of the cost or more, largest first.
             */
            patterns: components["schemas"]["PatternResult"][];
            /**
             * Period
             * @enum {string}
             */
            period: "hour" | "day" | "week" | "month";
            previous: components["schemas"]["PreviousResult"];
            projection: components["schemas"]["ProjectionResult"];
            savings: components["schemas"]["SavingsResult"];
            /**
             * To
             * @description The period's end; the figures go up to now.
             */
            to: string;
            /** Tz */
            tz: string;
        };
        /** VerdictResult */
        app__api__usage_schemas__VerdictResult: {
            /** Count */
            count: number;
            /**
             * Mean
             * @description 1 (useless) to 5 (just right).
             */
            mean: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    agents: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentList"];
                };
            };
        };
    };
    agent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Of an entry of agents.yaml, or of a built-in agent. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"];
                };
            };
        };
    };
    pause_agent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Of an entry of agents.yaml, or of a built-in agent. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"];
                };
            };
        };
    };
    resume_agent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Of an entry of agents.yaml, or of a built-in agent. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"];
                };
            };
        };
    };
    agent_runs: {
        parameters: {
            query?: {
                /** @description Those in this state alone. */
                state?: components["schemas"]["State"] | null;
                limit?: number;
                /** @description `next_cursor` of the page before. */
                cursor?: string | null;
            };
            header?: never;
            path: {
                /** @description Of an entry of agents.yaml, or of a built-in agent. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunList"];
                };
            };
        };
    };
    budgets: {
        parameters: {
            query?: {
                /** @description Those that cover this workspace. */
                workspace?: string | null;
                /** @description Those that cover this agent. */
                agent?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BudgetList"];
                };
            };
        };
    };
    chat: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChatBody"];
            };
        };
        responses: {
            /**
             * @description Server-Sent Events. `data` is JSON; `id` counts up; exactly one of `done` and `error` comes last.
             *
             *     | event | data |
             *     | --- | --- |
             *     | `route` | request_id, rule, model, location, candidates, reasons |
             *     | `context` | model, window, input_tokens, reserved_output, upgraded_from, blocks |
             *     | `attempt` | model, number, outcome, code, reason, wait_seconds |
             *     | `token`, `reasoning` | text |
             *     | `tool_call` | index, id, name, arguments (a part, to be appended) |
             *     | `done` | the fields of ChatResult from `model` on |
             *     | `error` | a problem body, plus delivered_characters |
             */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChatResult"];
                    "text/event-stream": unknown;
                };
            };
        };
    };
    stop_chat: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                request_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is stopped, and kept no longer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                };
            };
        };
    };
    resume_chat: {
        parameters: {
            query?: never;
            header?: {
                /** @description The last event that was received; from the beginning where absent. */
                "Last-Event-ID"?: number;
            };
            path: {
                request_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /**
             * @description Server-Sent Events. `data` is JSON; `id` counts up; exactly one of `done` and `error` comes last.
             *
             *     | event | data |
             *     | --- | --- |
             *     | `route` | request_id, rule, model, location, candidates, reasons |
             *     | `context` | model, window, input_tokens, reserved_output, upgraded_from, blocks |
             *     | `attempt` | model, number, outcome, code, reason, wait_seconds |
             *     | `token`, `reasoning` | text |
             *     | `tool_call` | index, id, name, arguments (a part, to be appended) |
             *     | `done` | the fields of ChatResult from `model` on |
             *     | `error` | a problem body, plus delivered_characters |
             *     | `reset` | request_id, missing, next_id: clear what is shown; events are gone |
             */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                    "text/event-stream": unknown;
                };
            };
        };
    };
    put_chunks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChunksBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChunksResult"];
                };
            };
        };
    };
    dashboard_link: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DashboardLink"];
                };
            };
        };
    };
    sign_out: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    entities: {
        parameters: {
            query?: {
                /** @description A profile's id; the configured default when absent. */
                workspace?: string | null;
                /** @description What to look for: a name, words. All when absent. */
                q?: string | null;
                /** @description Of these kinds alone, comma-separated. */
                kind?: string | null;
                /** @description Also neighbours of what was found, so far away. */
                hops?: number;
                /** @description Most entities found; as many neighbours may come along. */
                limit?: number;
                /** @description `next_cursor` of the page before; without `q`. */
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FoundEntities"];
                };
            };
        };
    };
    put_entities: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EntitiesBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EntitiesResult"];
                };
            };
        };
    };
    extract_entities: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExtractBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExtractResult"];
                };
            };
        };
    };
    entity: {
        parameters: {
            query?: {
                /** @description Only if it is in this one. */
                workspace?: string | null;
                hops?: number;
                /** @description Most neighbours. */
                limit?: number;
            };
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                entity_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EntityDetailResult"];
                };
            };
        };
    };
    delete_entity: {
        parameters: {
            query?: {
                /** @description Only if it is in this one. */
                workspace?: string | null;
            };
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                entity_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    events: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /**
             * @description Server-Sent Events without an end; `data` is JSON.
             *
             *     | event | data |
             *     | --- | --- |
             *     | `hello` | instance_id |
             *     | `settled` | request_id, attempt, last, workspace, model, status, cost_usd |
             *     | `notification` | a notification of the inbox, as `/notifications` shows it |
             *     | `config` | fingerprint: the configuration was read anew |
             *     | `missed` | nothing: the reader was too slow, and should read again what it shows |
             */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                    "text/event-stream": unknown;
                };
            };
        };
    };
    explain: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExplainBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExplainResult"];
                };
            };
        };
    };
    replay: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ReplayBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReplayResult"];
                };
            };
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    index_list: {
        parameters: {
            query?: {
                /** @description This workspace's alone; all when absent. */
                workspace?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IndexList"];
                };
            };
        };
    };
    index_folder: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["IndexBody"];
            };
        };
        responses: {
            /**
             * @description Server-Sent Events. `data` is JSON; `id` counts up; exactly one of `done` and `error` comes last.
             *
             *     | event | data |
             *     | --- | --- |
             *     | `progress` | the fields of IndexStatus's `progress`, at most ten times a second |
             *     | `done` | an IndexStatus |
             *     | `error` | a problem body |
             */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IndexStatus"];
                    "text/event-stream": unknown;
                };
            };
            /** @description With `wait: false`: it has begun */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IndexStatus"];
                };
            };
        };
    };
    index_drop: {
        parameters: {
            query?: {
                /** @description The configured default when absent. */
                workspace?: string | null;
                /** @description The folder; all of the workspace's index when absent. */
                path?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IndexDropped"];
                };
            };
        };
    };
    index_stop: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["StopBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IndexList"];
                };
            };
        };
    };
    keys: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyList"];
                };
            };
        };
    };
    create_key: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["KeyBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewKeyResult"];
                };
            };
        };
    };
    revoke_key: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Of the key, as listed; never the key itself. */
                key_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    models: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ModelList"];
                };
            };
        };
    };
    notifications: {
        parameters: {
            query?: {
                workspace?: string | null;
                kind?: string | null;
                severity?: ("info" | "success" | "warning" | "error") | null;
                /** @description Those alone that nobody has read. */
                unread?: boolean;
                /** @description Those that were put away instead. */
                archived?: boolean;
                limit?: number;
                /** @description `next_cursor` of the page before. */
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NotificationList"];
                };
            };
        };
    };
    notification_events: {
        parameters: {
            query?: never;
            header?: {
                /** @description The number of the last notification that was received. */
                "Last-Event-ID"?: number;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-Sent Events without an end: `notification`, its number as `id`. With `Last-Event-ID` it begins after that, else with now; the first `id`, which stands alone, says after which. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                    "text/event-stream": unknown;
                };
            };
        };
    };
    notifications_read_all: {
        parameters: {
            query?: {
                workspace?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReadAllResult"];
                };
            };
        };
    };
    notification_archive: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NotificationResult"];
                };
            };
        };
    };
    notification_read: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NotificationResult"];
                };
            };
        };
    };
    profiles: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProfileList"];
                };
            };
        };
    };
    get_request: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description As `route` and `done` name it. */
                request_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RequestResult"];
                };
            };
        };
    };
    give_feedback: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description As `route` and `done` name it. */
                request_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FeedbackBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FeedbackResult"];
                };
            };
        };
    };
    rules: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RuleList"];
                };
            };
        };
    };
    runs: {
        parameters: {
            query?: {
                /** @description Those in this state alone. */
                state?: components["schemas"]["State"] | null;
                limit?: number;
                /** @description `next_cursor` of the page before. */
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunList"];
                };
            };
        };
    };
    run: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunDetailResult"];
                };
            };
        };
    };
    cancel_run: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunResult"];
                };
            };
        };
    };
    run_events: {
        parameters: {
            query?: never;
            header?: {
                /** @description The number of the last line that was received; from the first where absent. */
                "Last-Event-ID"?: number;
            };
            path: {
                run_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-Sent Events: `log`, its line's number as `id`; `progress`; and one `done` with the run when it is over */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                    "text/event-stream": unknown;
                };
            };
        };
    };
    search: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SearchBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchResult"];
                };
            };
        };
    };
    sessions: {
        parameters: {
            query?: {
                /** @description This workspace's alone; all when absent. */
                workspace?: string | null;
                limit?: number;
                /** @description `next_cursor` of the page before. */
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionList"];
                };
            };
        };
    };
    create_session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SessionBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionResult"];
                };
            };
        };
    };
    session: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionDetail"];
                };
            };
        };
    };
    delete_session: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    session_messages: {
        parameters: {
            query?: {
                /** @description Messages with a larger `seq`, oldest first. */
                after?: number;
                /** @description The last ones with a smaller `seq` instead. */
                before?: number | null;
                limit?: number;
            };
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessageList"];
                };
            };
        };
    };
    append_messages: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MessagesBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AppendResult"];
                };
            };
        };
    };
    session_state: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
        };
    };
    put_session_state: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SessionState"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
        };
    };
    capture_session_state: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description 1 to 128 letters, digits and `_ . : -`. */
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CaptureResult"];
                };
            };
        };
    };
    trigger: {
        parameters: {
            query?: never;
            header?: {
                /** @description The same key with the same request starts one run, however often it is sent. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TriggerBody"];
            };
        };
        responses: {
            /** @description With `wait`: the run that is over */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunDetailResult"];
                };
            };
            /** @description Accepted, or with `wait` not over after 60 s */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunResult"];
                };
            };
        };
    };
    usage: {
        parameters: {
            query?: {
                /** @description ISO 8601, inclusive; 30 days before `to` when absent. */
                from?: string | null;
                /** @description ISO 8601, exclusive; now when absent. */
                to?: string | null;
                /** @description IANA time zone of dates and days; UTC when absent. */
                tz?: string | null;
                workspace?: string | null;
                model?: string | null;
                task_type?: string | null;
                agent?: string | null;
                session?: string | null;
                rule?: string | null;
                location?: string | null;
                provider?: string | null;
                status?: string | null;
                request_id?: string | null;
                /** @description One to three, comma-separated. */
                group_by?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UsageResult"];
                };
            };
        };
    };
    usage_export: {
        parameters: {
            query?: {
                /** @description ISO 8601, inclusive; 30 days before `to` when absent. */
                from?: string | null;
                /** @description ISO 8601, exclusive; now when absent. */
                to?: string | null;
                /** @description IANA time zone of dates and days; UTC when absent. */
                tz?: string | null;
                workspace?: string | null;
                model?: string | null;
                task_type?: string | null;
                agent?: string | null;
                session?: string | null;
                rule?: string | null;
                location?: string | null;
                provider?: string | null;
                status?: string | null;
                request_id?: string | null;
                format?: "csv" | "ndjson";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                    "application/x-ndjson": unknown;
                    "text/csv": unknown;
                };
            };
        };
    };
    usage_records: {
        parameters: {
            query?: {
                /** @description ISO 8601, inclusive; 30 days before `to` when absent. */
                from?: string | null;
                /** @description ISO 8601, exclusive; now when absent. */
                to?: string | null;
                /** @description IANA time zone of dates and days; UTC when absent. */
                tz?: string | null;
                workspace?: string | null;
                model?: string | null;
                task_type?: string | null;
                agent?: string | null;
                session?: string | null;
                rule?: string | null;
                location?: string | null;
                provider?: string | null;
                status?: string | null;
                request_id?: string | null;
                limit?: number;
                /** @description `next_cursor` of the page before. */
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecordList"];
                };
            };
        };
    };
    usage_summary: {
        parameters: {
            query?: {
                /** @description The one that is now. */
                period?: "hour" | "day" | "week" | "month";
                /** @description IANA time zone of its beginning; UTC when absent. */
                tz?: string | null;
                workspace?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["app__api__usage_schemas__SummaryResult"];
                };
            };
        };
    };
    usage_verify: {
        parameters: {
            query?: {
                repair?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VerifyResult"];
                };
            };
        };
    };
}
