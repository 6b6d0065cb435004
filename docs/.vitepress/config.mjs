/** The site of docs/: `npm run docs` builds it, and fails on a dead link. */

const section = (text, pages) => ({ text, items: pages.map(([title, link]) => ({ text: title, link })) })

export default {
  title: 'Penstock',
  description: 'Streaming pipeline for Node.js from JSONL text to a trained GPT',
  lastUpdated: false,
  ignoreDeadLinks: false,
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: [
      section('Use', [
        ['Overview', '/'],
        ['Tutorial', '/tutorial'],
        ['Corpora', '/corpora'],
        ['Object stores and the Hub', '/object-stores'],
        ['Definitions', '/definitions'],
        ['Stages', '/stages'],
        ['Documents in a sample', '/documents'],
        ['Mixtures', '/mixtures'],
        ['Tokenizers', '/tokenizer'],
        ['Speed on many cores', '/speed'],
        ['Monitoring', '/monitoring'],
        ['Coming from Modalities', '/from-modalities'],
      ]),
      section('Deploy and embed', [
        ['Embedding', '/embedding'],
        ['Processing data on many machines', '/clusters'],
        ['Deployment', '/deployment'],
        ['TensorFlow.js backends', '/backends'],
        ['Distributed training', '/distributed'],
        ['GPU kit', '/gpu-kit'],
        ['Reliability', '/reliability'],
        ['Security', '/security'],
        ['Troubleshooting', '/troubleshooting'],
      ]),
      section('Development', [['Architecture', '/architecture']]),
    ],
  },
}
