// GraphiQL with a field for the API key. The key is kept for this tab only.
(function () {
  'use strict';
  const KEY = 'gateway.graphiql.key';
  const input = document.getElementById('token');
  const hint = document.getElementById('hint');
  const root = ReactDOM.createRoot(document.getElementById('graphiql'));
  let mounted = 0;

  const STARTER = '# Who am I, and what is there?\n{\n  viewer { kind name scopes }\n  workspaces { id name }\n' +
    '  accounts { totalCount nodes { id name status phoneNumber } }\n}\n';

  function show(key) {
    const headers = key ? { Authorization: 'Bearer ' + key } : {};
    const fetcher = GraphiQL.createFetcher({ url: '/graphql', headers });
    hint.textContent = key
      ? 'Requests are sent with this key. It is forgotten when the tab closes.'
      : 'Requests need a key; the Headers editor below takes an Authorization header as well.';
    mounted += 1;
    root.render(React.createElement(GraphiQL, {
      key: mounted,
      fetcher,
      defaultQuery: STARTER,
      isHeadersEditorEnabled: true,
      shouldPersistHeaders: false,
    }));
  }

  document.getElementById('key').addEventListener('submit', function (event) {
    event.preventDefault();
    const key = input.value.trim();
    sessionStorage.setItem(KEY, key);
    show(key);
  });

  input.value = sessionStorage.getItem(KEY) || '';
  show(input.value);
})();
