exec(open('/tmp/attack/mk.py').read().split("folder('good')")[0])
for e in (1e4,1e9,1e20):
    n=f'h{int(np.log10(e))}'; folder(n); x=tone(300)*e; sf.write(R/n/'a/huge.wav',x.astype('float32'),sr,subtype='FLOAT')
folder('g2'); sf.write(R/'g2/a/one.wav',tone(300)[:1],sr)
