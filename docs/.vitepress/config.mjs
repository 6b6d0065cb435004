/** The site of docs/: `npm run docs` builds it, and fails on a dead link. */

const section = (text, pages) => ({ text, items: pages.map(([title, link]) => ({ text: title, link })) })

export default {
  title: 'Penstock',
  description: 'Back-pressured Node streams from JSONL to a trained GPT',
  lastUpdated: false,
  ignoreDeadLinks: false,
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: [
      section('Use', [
        ['Overview', '/'],
        ['Tutorial', '/tutorial'],
        ['Definitions', '/definitions'],
        ['Stages', '/stages'],
        ['Tokenizers', '/tokenizer'],
        ['Monitoring', '/monitoring'],
        ['Coming from Modalities', '/from-modalities'],
      ]),
      section('Run elsewhere', [
        ['In your own app', '/embedding'],
        ['Deployment', '/deployment'],
        ['Backends of TensorFlow.js', '/backends'],
        ['Several GPUs and machines', '/distributed'],
        ['Nothing lost', '/reliability'],
        ['Security', '/security'],
        ['Troubleshooting', '/troubleshooting'],
      ]),
      section('Inside', [['How the house is built', '/architecture']]),
    ],
  },
}
